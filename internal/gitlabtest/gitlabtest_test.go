package gitlabtest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// ask sends a request with a token in a header and gives status, body and headers.
func ask(t *testing.T, s *Server, method, path, header, token, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, s.API()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	switch header {
	case "":
	case "Basic":
		req.SetBasicAuth("anyone", token)
	default:
		req.Header.Set(header, token)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b)), resp.Header
}

const file = "/projects/7/packages/generic/p/1.0/f.bin"

// Who may do what, in the order and the words of GitLab.
func TestRights(t *testing.T) {
	s := Start(t, false)
	writer, reader, deploy := s.Grant(JobToken, Write), s.Grant(PrivateToken, Read), s.Grant(DeployToken, Write)
	for _, c := range []struct {
		method, path, header, token string
		status                      int
		says                        string
	}{
		{"PUT", file, "", "", 401, "401 Unauthorized"},
		{"PUT", file, JobToken, "no", 401, "401 Unauthorized"},
		{"PUT", file, PrivateToken, writer, 401, "401 Unauthorized"},
		{"PUT", file, PrivateToken, reader, 403, "403 Forbidden"},
		{"PUT", file, JobToken, writer, 201, "201 Created"},
		{"PUT", file + "?select=package_file", DeployToken, deploy, 200, `"file_sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"`},
		{"PUT", file, "Basic", writer, 201, "201 Created"},
		{"PUT", "/projects/base%2Fimages/packages/generic/p/1.0/dir/f.bin", JobToken, writer, 201, "201 Created"},
		{"PUT", file + "?status=gone", JobToken, writer, 400, "status does not have a valid value"},
		{"PUT", "/projects/8/packages/generic/p/1.0/f.bin", JobToken, writer, 404, "404 Project Not Found"},
		{"PUT", "/projects/7/packages/generic/p/f.bin", JobToken, writer, 404, "404 Not Found"},
		{"GET", file, PrivateToken, reader, 200, "x"},
		{"GET", file + "x", PrivateToken, reader, 404, "404 Not found"},
		{"GET", file, "", "", 404, "404 Project Not Found"},
		{"GET", "/projects/7/packages", JobToken, writer, 200, `"name":"p"`},
		{"GET", "/projects/7/packages", DeployToken, deploy, 404, "404 Project Not Found"},
		{"DELETE", "/projects/7/packages/1", JobToken, writer, 403, "403 Forbidden"},
		{"DELETE", "/projects/7/packages/1", DeployToken, deploy, 404, "404 Project Not Found"},
	} {
		status, body, _ := ask(t, s, c.method, c.path, c.header, c.token, "x")
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s %s with %s: %d %s, want %d %s", c.method, c.path, c.header, status, body, c.status, c.says)
		}
	}
}

// The status is the package's; hidden ones are listed only by status, and served.
func TestHidden(t *testing.T) {
	s := Start(t, false)
	token := s.Grant(JobToken, Delete)
	list := func(query string) int {
		_, body, _ := ask(t, s, "GET", "/projects/7/packages"+query, JobToken, token, "")
		var v []any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		return len(v)
	}
	for _, c := range []struct {
		query         string
		shown, hidden int
	}{
		{"?status=hidden", 0, 1},
		{"", 0, 1},
		{"?status=default", 1, 0},
	} {
		ask(t, s, "PUT", file+c.query, JobToken, token, "x")
		if list("") != c.shown || list("?status=hidden") != c.hidden {
			t.Errorf("after %q: %d shown, %d hidden", c.query, list(""), list("?status=hidden"))
		}
		if status, _, h := ask(t, s, "GET", file, JobToken, token, ""); status != 200 || h.Get("X-Checksum-SHA256") == "" {
			t.Errorf("after %q: download gives %d", c.query, status)
		}
	}
	if n := list("?package_name=P&package_type=generic&package_version=1.0"); n != 1 {
		t.Errorf("%d found by a part of the name", n)
	}
	if n := list("?package_version=1"); n != 0 {
		t.Errorf("%d found by a part of the version", n)
	}
}

// Duplicates, limit, pages, the object store.
func TestSettings(t *testing.T) {
	s := Start(t, false)
	token := s.Grant(JobToken, Delete)
	for range 25 {
		ask(t, s, "PUT", file, JobToken, token, "x")
	}
	_, body, h := ask(t, s, "GET", "/projects/7/packages/1/package_files?page=2", JobToken, token, "")
	if strings.Count(body, `"file_name"`) != 5 || h.Get("X-Next-Page") != "" || h.Get("X-Total") != "25" || h.Get("X-Total-Pages") != "2" {
		t.Errorf("page 2: %s %v", body, h)
	}
	if _, _, h = ask(t, s, "GET", "/projects/7/packages/1/package_files", JobToken, token, ""); h.Get("X-Next-Page") != "2" {
		t.Errorf("page 1: %v", h)
	}
	s.Set(func(v *Settings) { v.NoDuplicates, v.MaxSize, v.ObjectStore = true, 3, true })
	if status, body, _ := ask(t, s, "PUT", file, JobToken, token, "x"); status != 400 || !strings.Contains(body, "Duplicate package is not allowed") {
		t.Errorf("duplicate: %d %s", status, body)
	}
	if status, body, _ := ask(t, s, "PUT", file+"2", JobToken, token, "long"); status != 400 || !strings.Contains(body, "File is too large") {
		t.Errorf("limit: %d %s", status, body)
	}
	status, _, h := ask(t, s, "GET", file, JobToken, token, "")
	if status != 302 || h.Get("X-Checksum-SHA256") != "" || strings.HasPrefix(h.Get("Location"), s.API()) {
		t.Errorf("object store: %d %v", status, h)
	}
}
