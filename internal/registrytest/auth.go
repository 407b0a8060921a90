package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// auth admits one user, by basic authorisation or through a token service.
type auth struct {
	user, password string
	token          bool
	host           func() string
}

// Basic asks for a user and password.
func Basic(user, password string) Option {
	return func(r *Registry) { r.auth = &auth{user: user, password: password} }
}

// Token asks for a bearer token, given by the service at /token for a user and
// password and good for the scopes it was asked for, as GitLab's registry does.
func Token(user, password string) Option {
	return func(r *Registry) {
		r.auth = &auth{user: user, password: password, token: true, host: r.URL}
	}
}

const tokenPrefix = "token-for "

// admit says whether the request may go on to the registry; otherwise it is
// answered.
func (a *auth) admit(w http.ResponseWriter, req *http.Request) bool {
	user, password, basic := req.BasicAuth()
	good := basic && user == a.user && password == a.password
	if !a.token {
		if good {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		refuse(w)
		return false
	}
	if req.URL.Path == "/token" {
		if !good {
			refuse(w)
			return false
		}
		json.NewEncoder(w).Encode(map[string]any{"token": tokenPrefix + strings.Join(req.URL.Query()["scope"], " "), "expires_in": 300})
		return false
	}
	bearer, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "+tokenPrefix)
	if ok && a.covers(bearer, req) {
		return true
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test"`, a.host()))
	refuse(w)
	return false
}

// covers says whether the scopes of a token allow the request.
func (a *auth) covers(scopes string, req *http.Request) bool {
	name, rest := strings.TrimPrefix(req.URL.Path, "/v2/"), ""
	for _, part := range []string{"/blobs/", "/manifests/", "/tags/"} {
		if i := strings.LastIndex(name, part); i >= 0 {
			name, rest = name[:i], name[i:]
			break
		}
	}
	if rest == "" {
		return true // the version check
	}
	may := func(name, action string) bool {
		for _, s := range strings.Fields(scopes) {
			p := strings.Split(s, ":")
			if len(p) == 3 && p[0] == "repository" && p[1] == name && strings.Contains(","+p[2]+",", ","+action+",") {
				return true
			}
		}
		return false
	}
	action := "push"
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		action = "pull"
	}
	from := req.URL.Query().Get("from")
	return may(name, action) && (from == "" || may(from, "pull"))
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
}
