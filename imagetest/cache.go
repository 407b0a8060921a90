package imagetest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/pipelines"
)

// format is part of every key: a change in how tests are judged counts it up.
const format = 1

// key identifies the tests and the image they look at. It is empty when results are
// not to be kept: those of commands with a network depend on what is out there.
func (r Request) key() (string, error) {
	if r.Cache == "" || len(r.Tests) == 0 {
		return "", nil
	}
	for _, t := range r.Tests {
		bare, _ := pipelines.Declared(t)
		if c, ok := bare.(pipelines.TestCommand); ok && c.Network == pipelines.NetworkHost {
			return "", nil
		}
	}
	tests, err := pipelines.EncodeTests(r.Tests)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(struct {
		Format   int                `json:"format"`
		Digest   string             `json:"digest"`
		Platform pipelines.Platform `json:"platform"`
		Builder  string             `json:"builder"`
		Tests    json.RawMessage    `json:"tests"`
	}{format, r.Artifact.Digest, r.Artifact.Platform, r.Builder.Name(), tests})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// lookup finds the results of tests that all passed. Lines of declarations may have
// moved since: they are set anew.
func (r Request) lookup(key string) (Report, bool) {
	if key == "" || r.NoCache {
		return Report{}, false
	}
	path := filepath.Join(r.Cache, key+".json")
	b, err := os.ReadFile(path)
	if err != nil {
		return Report{}, false
	}
	var rep Report
	if json.Unmarshal(b, &rep) != nil || len(rep.Results) != len(r.Tests) || !rep.OK() || rep.Digest != r.Artifact.Digest {
		return Report{}, false
	}
	for i := range rep.Results {
		if _, rep.Results[i].Where = pipelines.Declared(r.Tests[i]); rep.Results[i].Where == (pipelines.Position{}) {
			rep.Results[i].Where = r.Where
		}
	}
	now := r.Now()
	os.Chtimes(path, now, now) // for pruning by age; a failure costs nothing
	return rep, true
}

// keep remembers results if all passed: a failure may be one of the machine.
func (r Request) keep(key string, rep Report) error {
	if key == "" || !rep.OK() {
		return nil
	}
	if err := os.MkdirAll(r.Cache, 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(rep)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(r.Cache, key+".json"), b, 0o644)
}
