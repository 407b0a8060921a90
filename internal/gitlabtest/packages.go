package gitlabtest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// displayable are the statuses that are listed unless one is asked for.
var displayable = []string{"default", "error", "deprecated"}

// list is GET projects/:id/packages, oldest first. The name is a part of the
// package's ("fuzzy search"), type, version and status are exact.
func (s *Server) list(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := req.URL.Query()
	out := []any{}
	for _, p := range s.packages {
		status := p.Status == q.Get("status")
		if q.Get("status") == "" {
			status = slices.Contains(displayable, p.Status)
		}
		if !status || q.Get("package_type") != "" && p.Type != q.Get("package_type") ||
			q.Get("package_version") != "" && p.Version != q.Get("package_version") ||
			!strings.Contains(strings.ToLower(p.Name), strings.ToLower(q.Get("package_name"))) {
			continue
		}
		out = append(out, map[string]any{"id": p.ID, "name": p.Name, "version": p.Version, "package_type": p.Type,
			"status": p.Status, "created_at": stamp(p.Created), "tags": []any{}})
	}
	page(w, req, out)
}

// listFiles is GET projects/:id/packages/:package_id/package_files.
func (s *Server) listFiles(w http.ResponseWriter, req *http.Request, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byID(id)
	if p == nil {
		fail(w, 404, "404 Not Found")
		return
	}
	out := []any{}
	for _, f := range p.Files {
		out = append(out, fileJSON(p, f, s.set))
	}
	page(w, req, out)
}

func fileJSON(p *Package, f File, set Settings) map[string]any {
	var sum any = f.SHA256
	if set.NoHashes {
		sum = nil
	}
	return map[string]any{"id": f.ID, "package_id": p.ID, "created_at": stamp(f.Created), "file_name": f.Name,
		"size": f.Size, "file_md5": nil, "file_sha1": nil, "file_sha256": sum}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (s *Server) byID(id string) *Package {
	for _, p := range s.packages {
		if strconv.FormatInt(p.ID, 10) == id {
			return p
		}
	}
	return nil
}

// remove is DELETE of a package, or of one of its files.
func (s *Server) remove(w http.ResponseWriter, id, file string, right Rights) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byID(id)
	switch {
	case right < Delete:
		fail(w, 403, "403 Forbidden")
		return
	case p == nil:
		fail(w, 404, "404 Not Found")
		return
	case p.Name == s.set.DeleteProtected:
		fail(w, 403, "403 Forbidden - Package is deletion protected.")
		return
	case file == "":
		s.packages = slices.DeleteFunc(s.packages, func(o *Package) bool { return o == p })
		w.WriteHeader(http.StatusNoContent)
		return
	}
	n := len(p.Files)
	p.Files = slices.DeleteFunc(p.Files, func(f File) bool { return strconv.FormatInt(f.ID, 10) == file })
	if len(p.Files) == n {
		fail(w, 404, "404 Not Found")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// page answers with one page of 20, or per_page (at most 100), and the headers of
// offset pagination.
func page(w http.ResponseWriter, req *http.Request, all []any) {
	q := req.URL.Query()
	per, err := strconv.Atoi(q.Get("per_page"))
	if err != nil || per < 1 {
		per = 20
	}
	per = min(per, 100)
	n, err := strconv.Atoi(q.Get("page"))
	if err != nil || n < 1 {
		n = 1
	}
	from, to := min((n-1)*per, len(all)), min(n*per, len(all))
	h := w.Header()
	h.Set("X-Page", strconv.Itoa(n))
	h.Set("X-Per-Page", strconv.Itoa(per))
	h.Set("X-Total", strconv.Itoa(len(all)))
	h.Set("X-Total-Pages", strconv.Itoa(max(1, (len(all)+per-1)/per)))
	h.Set("X-Next-Page", "")
	if to < len(all) {
		h.Set("X-Next-Page", strconv.Itoa(n+1))
	}
	answer(w, http.StatusOK, all[from:to])
}
