package gitlabtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The names GitLab takes: lib/gitlab/regex/packages.rb, where the package name is
// maven_file_name_regex and the version maven_version_regex.
var (
	nameRE    = regexp.MustCompile(`^[A-Za-z0-9._\-+]+$`)
	versionRE = regexp.MustCompile(`^[A-Za-z0-9_+.\-]+$`)
	fileRE    = regexp.MustCompile(`^[A-Za-z0-9._\-+~]+$`)
)

// Package is one package as the server keeps it.
type Package struct {
	ID                          int64
	Name, Version, Type, Status string
	Created                     time.Time
	Files                       []File
}

// File is one file of a package.
type File struct {
	ID      int64
	Name    string
	SHA256  string
	Size    int64
	Data    []byte
	Created time.Time
}

// Packages lists what there is, in the order it came.
func (s *Server) Packages() []Package {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Package
	for _, p := range s.packages {
		c := *p
		c.Files = append([]File(nil), p.Files...)
		out = append(out, c)
	}
	return out
}

// Add puts a package there, without a request. IDs, hashes, an empty Type
// (generic) and Status (default), and a zero Created are filled in.
func (s *Server) Add(p Package) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Type == "" {
		p.Type = "generic"
	}
	if p.Status == "" {
		p.Status = "default"
	}
	if p.Created.IsZero() {
		p.Created = s.now()
	}
	s.lastID++
	p.ID = s.lastID
	for i := range p.Files {
		s.lastID++
		f := &p.Files[i]
		f.ID, f.SHA256, f.Size, f.Created = s.lastID, hash(f.Data), int64(len(f.Data)), p.Created
	}
	s.packages = append(s.packages, &p)
}

func (s *Server) now() time.Time {
	if s.set.Now != nil {
		return s.set.Now()
	}
	return time.Now()
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func traverses(s string) bool { return strings.Contains(s, "..") }

// names takes NAME/VERSION/(PATH/)FILE apart and validates it; what does not
// validate is named. The file's whole name is stored with its path escaped.
func names(at []string) (name, version, file, bad string) {
	name, version, base := at[0], at[1], at[len(at)-1]
	path := strings.Join(at[2:len(at)-1], "/")
	file = base
	if path != "" {
		file = url.QueryEscape(path + "/" + base)
	}
	switch {
	case !nameRE.MatchString(name) || traverses(name):
		bad = "package_name"
	case !versionRE.MatchString(version) || traverses(version):
		bad = "package_version"
	case traverses(path):
		bad = "path"
	case !fileRE.MatchString(base) || traverses(base) || strings.HasPrefix(base, "~") || strings.HasSuffix(base, "~"):
		bad = "file_name"
	}
	return name, version, file, bad
}

// publish is PUT projects/:id/packages/generic/:name/:version/(*path/):file. As
// behind Workhorse, rights and protection are looked at before the body.
func (s *Server) publish(w http.ResponseWriter, req *http.Request, at []string, right Rights, f *Fault) {
	name, version, file, bad := names(at)
	q := req.URL.Query()
	status := q.Get("status")
	switch {
	case bad != "":
		invalid(w, bad)
		return
	case status != "" && status != "default" && status != "hidden":
		answer(w, 400, map[string]string{"error": "status does not have a valid value"})
		return
	case q.Get("select") != "" && q.Get("select") != "package_file":
		answer(w, 400, map[string]string{"error": "select does not have a valid value"})
		return
	case right < Write:
		fail(w, 403, "403 Forbidden")
		return
	}
	s.mu.Lock()
	set := s.set
	s.mu.Unlock()
	if set.PushProtected == name {
		fail(w, 403, "403 Forbidden - Package protected.")
		return
	}
	limit := set.MaxSize
	if limit == 0 {
		limit = 5 << 30
	}
	var data bytes.Buffer
	sum, to := sha256.New(), io.Writer(&data)
	if set.Discard {
		to = io.Discard
	}
	in := io.Reader(req.Body)
	if f != nil && f.Corrupt {
		in = &flipped{r: in}
	}
	n, err := io.Copy(io.MultiWriter(sum, to), io.LimitReader(in, limit+1))
	if err != nil {
		fail(w, 400, "400 Bad request")
		return
	}
	if n > limit {
		fail(w, 400, "400 Bad request - File is too large")
		return
	}
	stored, p := s.keep(name, version, status, File{Name: file, SHA256: hex.EncodeToString(sum.Sum(nil)), Size: n, Data: data.Bytes()})
	switch {
	case stored == nil:
		fail(w, 400, "400 Bad request - Duplicate package is not allowed")
	case q.Get("select") == "package_file":
		v := fileJSON(p, *stored, set)
		v["file_store"], v["file"] = 1, map[string]any{"url": nil}
		answer(w, 200, v) // "present" answers a PUT with 200, "created!" with 201
	default:
		fail(w, 201, "201 Created")
	}
}

// keep stores a file; nil: a duplicate, where there must be none. The status is
// that of the whole package.
func (s *Server) keep(name, version, status string, f File) (*File, *Package) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.find(name, version)
	if p == nil {
		s.lastID++
		p = &Package{ID: s.lastID, Name: name, Version: version, Type: "generic", Status: "default", Created: s.now()}
		s.packages = append(s.packages, p)
	}
	if s.set.NoDuplicates {
		for _, o := range p.Files {
			if o.Name == f.Name {
				return nil, nil
			}
		}
	}
	if status != "" {
		p.Status = status
	}
	s.lastID++
	f.ID, f.Created = s.lastID, s.now()
	p.Files = append(p.Files, f)
	return &f, p
}

// flipped flips a bit of the first byte.
type flipped struct {
	r    io.Reader
	done bool
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if n > 0 && !f.done {
		p[0] ^= 1
		f.done = true
	}
	return n, err
}

func (s *Server) find(name, version string) *Package {
	for _, p := range s.packages {
		if p.Type == "generic" && p.Name == name && p.Version == version {
			return p
		}
	}
	return nil
}

// download gives the newest file of a name, or where the object store has it.
func (s *Server) download(w http.ResponseWriter, req *http.Request, at []string) {
	name, version, file, bad := names(at)
	if bad != "" {
		invalid(w, bad)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *File
	if p := s.find(name, version); p != nil {
		for i := range p.Files {
			if p.Files[i].Name == file {
				found = &p.Files[i]
			}
		}
	}
	if found == nil {
		fail(w, 404, "404 Not found")
		return
	}
	if s.set.ObjectStore {
		w.Header().Set("Location", fmt.Sprintf("%s/objects/%d?signature=valid", s.store.URL, found.ID))
		w.WriteHeader(http.StatusFound)
		return
	}
	if !s.set.NoHashes {
		w.Header().Set("X-Checksum-SHA256", found.SHA256)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(found.Data)))
	w.Write(found.Data)
}

// serveObject is the object store: it takes the signature in the URL, for GET, and
// wants no token.
func (s *Server) serveObject(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range []string{JobToken, PrivateToken, DeployToken, "Authorization"} {
		if req.Header.Get(h) != "" {
			s.leaked = append(s.leaked, h)
		}
	}
	if req.Method != http.MethodGet || req.URL.Query().Get("signature") != "valid" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	for _, p := range s.packages {
		for _, f := range p.Files {
			if req.URL.Path == fmt.Sprintf("/objects/%d", f.ID) {
				w.Write(f.Data)
				return
			}
		}
	}
	w.WriteHeader(http.StatusNotFound)
}
