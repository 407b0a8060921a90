package gitlabtest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/requesttest"
)

// The headers that tokens travel in.
const (
	JobToken     = "JOB-TOKEN"
	PrivateToken = "PRIVATE-TOKEN"
	DeployToken  = "DEPLOY-TOKEN"
)

// Rights of a token, each including those before it.
type Rights int

// The rights: of a Reporter, of a Developer, of a Maintainer.
const (
	Read Rights = iota + 1
	Write
	Delete
)

// ID and Path of the one project there is. It is private.
const (
	ID   = 7
	Path = "base/images"
)

// Settings of the instance, its group and project.
type Settings struct {
	// MaxSize is the plan limit generic_packages_max_file_size, in bytes; 0 is
	// GitLab's 5 GiB.
	MaxSize int64
	// NoDuplicates turns "Allow duplicates" off.
	NoDuplicates bool
	// PushProtected and DeleteProtected are package names with a protection rule.
	PushProtected, DeleteProtected string
	// Disabled: the project has no package registry.
	Disabled bool
	// ObjectStore: downloads are redirected to another host.
	ObjectStore bool
	// NoHashes: file_sha256 is null, as with files of before GitLab 13.
	NoHashes bool
	// Discard keeps the size and hash of uploads, not their bytes.
	Discard bool
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Server is one running instance. It ends with the test.
type Server struct {
	requesttest.Log[Request]
	faults     requesttest.Faults[Fault]
	srv, store *httptest.Server
	closed     chan struct{}

	mu       sync.Mutex
	set      Settings
	tokens   map[string]Rights // header + " " + token
	packages []*Package
	lastID   int64
	leaked   []string
}

// Request is one request the server received.
type Request struct {
	Method, Path, Query string
	Status              int
	// Body is how many bytes of the request's body were read.
	Body int64
	// Header is the name of the header that had the token.
	Header string
}

// Start runs an instance on a free loopback port; with https when tls is set.
func Start(t testing.TB, tls bool) *Server {
	t.Helper()
	s := &Server{tokens: map[string]Rights{}, closed: make(chan struct{})}
	s.srv = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.srv.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that tests refuse
	s.store = httptest.NewServer(http.HandlerFunc(s.serveObject))
	if tls {
		s.srv.StartTLS()
	} else {
		s.srv.Start()
	}
	t.Cleanup(func() {
		close(s.closed)
		s.srv.CloseClientConnections()
		s.srv.Close()
		s.store.Close()
		if len(s.leaked) > 0 {
			t.Errorf("the object store was sent tokens: %q", s.leaked)
		}
	})
	return s
}

// API is the base URL, as CI_API_V4_URL has it.
func (s *Server) API() string { return s.srv.URL + "/api/v4" }

// CA is the certificate of an https instance, PEM.
func (s *Server) CA() []byte {
	return requesttest.CA(s.srv)
}

// Grant makes a token for one of the headers.
func (s *Server) Grant(header string, r Rights) string {
	raw := make([]byte, 16)
	rand.Read(raw)
	token := hex.EncodeToString(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[header+" "+token] = r
	return token
}

// Set changes settings.
func (s *Server) Set(change func(*Settings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.set)
}

// Body is how many bytes of request bodies were read since Forget.
func (s *Server) Body() int64 {
	n := int64(0)
	for _, r := range s.Requests() {
		n += r.Body
	}
	return n
}

// Count counts the requests with a method whose path holds part.
func (s *Server) Count(method, part string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Method == method && strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

func (s *Server) serve(w http.ResponseWriter, req *http.Request) {
	body := &requesttest.Body{R: req.Body}
	rec := &requesttest.Answer{ResponseWriter: w}
	q := Request{Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery}
	for _, h := range []string{JobToken, PrivateToken, DeployToken, "Authorization"} {
		if req.Header.Get(h) != "" {
			q.Header = h
		}
	}
	defer func() {
		q.Status, q.Body = rec.Status, body.N
		s.Note(q)
	}()
	// A copy: net/http looks at the body it gave to see whether it was wanted.
	req = req.WithContext(req.Context())
	req.Body = body
	f := s.faults.Pick(func(f *Fault) bool { return f.fits(req) })
	if f != nil && f.apply(s, rec, req, body) {
		return
	}
	if f != nil && f.Mute {
		s.route(httptest.NewRecorder(), req, f)
		requesttest.Cut(rec)
		return
	}
	s.route(rec, req, f)
}

// route finds the handler of a path below /api/v4/projects/ID.
func (s *Server) route(w http.ResponseWriter, req *http.Request, f *Fault) {
	rest, ok := strings.CutPrefix(req.URL.EscapedPath(), "/api/v4/projects/")
	var at []string
	for p := range strings.SplitSeq(rest, "/") {
		part, err := url.PathUnescape(p)
		if err != nil || part == "" {
			ok = false
		}
		at = append(at, part)
	}
	if !ok || len(at) < 2 || at[1] != "packages" {
		fail(w, 404, "404 Not Found")
		return
	}
	generic := len(at) >= 6 && at[2] == "generic"
	right, known := s.rights(req)
	switch {
	case !known && (req.Method != http.MethodGet && req.Method != http.MethodHead || tokenOf(req) != ""):
		fail(w, 401, "401 Unauthorized")
		return
	case !known, at[0] != strconv.Itoa(ID) && at[0] != Path, !generic && req.Header.Get(DeployToken) != "":
		// A private project is not there for who may not see it.
		fail(w, 404, "404 Project Not Found")
		return
	}
	s.mu.Lock()
	disabled := s.set.Disabled
	s.mu.Unlock()
	if disabled {
		fail(w, 403, "403 Forbidden")
		return
	}
	switch {
	case generic && req.Method == http.MethodPut:
		s.publish(w, req, at[3:], right, f)
	case generic && (req.Method == http.MethodGet || req.Method == http.MethodHead):
		s.download(w, req, at[3:])
	case len(at) == 2 && req.Method == http.MethodGet:
		s.list(w, req)
	case len(at) == 3 && req.Method == http.MethodDelete:
		s.remove(w, at[2], "", right)
	case len(at) == 4 && at[3] == "package_files" && req.Method == http.MethodGet:
		s.listFiles(w, req, at[2])
	case len(at) == 5 && at[3] == "package_files" && req.Method == http.MethodDelete:
		s.remove(w, at[2], at[4], right)
	default:
		fail(w, 404, "404 Not Found")
	}
}

// tokenOf is the token of a request: its header, or the password of HTTP Basic,
// whose user is not looked at.
func tokenOf(req *http.Request) string {
	for _, h := range []string{JobToken, PrivateToken, DeployToken} {
		if v := req.Header.Get(h); v != "" {
			return h + " " + v
		}
	}
	if _, password, ok := req.BasicAuth(); ok {
		return password
	}
	return ""
}

func (s *Server) rights(req *http.Request) (Rights, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := tokenOf(req)
	for known, r := range s.tokens {
		_, bare, _ := strings.Cut(known, " ")
		if token == known || token == bare {
			return r, true
		}
	}
	return 0, false
}

// fail answers as lib/api/helpers.rb renders errors.
func fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}

// invalid answers as Grape does to a parameter that does not validate.
func invalid(w http.ResponseWriter, param string) {
	answer(w, 400, map[string]string{"error": param + " is invalid"})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
