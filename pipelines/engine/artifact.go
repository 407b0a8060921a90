package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/filelock"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// artifactFormat is part of the key: raise it when the same graph is to give
// another result.
const artifactFormat = 1

// key names the result of a graph: everything that goes in.
func (e *Engine) key(low lowered) (string, error) {
	b, err := json.Marshal(struct {
		Format  int    `json:"format"`
		Graph   string `json:"graph"`
		Epoch   int64  `json:"epoch"`
		Builder string `json:"builder"`
	}{artifactFormat, low.graph.ID(), low.unixEpoch(), e.Builder.Name()})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// artifact gives the layout of a lowered graph: the one that is there, or a new
// one that appears under its key when it is whole.
func (e *Engine) artifact(ctx context.Context, job pipelines.Job, low lowered, ev pipelines.Sink) (pipelines.Artifact, error) {
	key, err := e.key(low)
	if err != nil {
		return pipelines.Artifact{}, err
	}
	dir := filepath.Join(e.StateDir, "artifacts")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return pipelines.Artifact{}, err
	}
	// One builder at a time for one key: a second run waits and finds it done.
	unlock, err := filelock.Lock(ctx, filepath.Join(dir, key+".lock"), nil)
	if err != nil {
		return pipelines.Artifact{}, err
	}
	defer unlock()
	path := filepath.Join(dir, key)
	if !e.NoCache && !low.volatile && e.exported(path, job) {
		if a, err := found(job, path); err == nil {
			now := e.Now
			os.Chtimes(path, now, now) // for pruning by age; a failure costs nothing
			a.Cached, a.Inputs = true, low.inputs
			return a, nil
		}
	}
	tmp := path + ".part"
	if err := os.RemoveAll(tmp); err != nil {
		return pipelines.Artifact{}, err
	}
	res, err := e.Builder.Build(ctx, builders.Request{Job: job.ID, Graph: low.graph, Site: e.Site, Secrets: e.Secrets,
		Output: tmp, Epoch: low.epoch, NoCache: e.NoCache, Keep: e.Keep, Events: ev,
		CacheFrom: e.keyed(e.CacheFrom, job), CacheTo: e.keyed(e.CacheTo, job), Credentials: e.Credentials, AuthFile: e.AuthFile})
	if err != nil {
		os.RemoveAll(tmp)
		return pipelines.Artifact{}, err
	}
	if err := os.RemoveAll(path); err != nil {
		return pipelines.Artifact{}, err
	}
	if err := os.Rename(tmp, path); err != nil {
		return pipelines.Artifact{}, err
	}
	if res.Exported > 0 && res.Exported == len(e.CacheTo) {
		b, err := json.Marshal(e.keyed(e.CacheTo, job))
		if err == nil {
			err = atomicfile.Write(filepath.Join(path, exportedFile), b, 0o644)
		}
		if err != nil {
			return pipelines.Artifact{}, err
		}
	}
	a, err := found(job, path)
	a.Inputs = low.inputs
	return a, err
}

// exportedFile, beside the artifact, lists the caches that have its steps.
const exportedFile = "cfbuild-exported.json"

// exported: the caches asked for have the steps of an artifact. Otherwise the builder
// is asked again, for whom everything is there.
func (e *Engine) exported(path string, job pipelines.Job) bool {
	if len(e.CacheTo) == 0 {
		return true
	}
	var have []builders.CacheRef
	b, err := os.ReadFile(filepath.Join(path, exportedFile))
	if err != nil || json.Unmarshal(b, &have) != nil {
		return false
	}
	for _, want := range e.keyed(e.CacheTo, job) {
		if !slices.Contains(have, want) {
			return false
		}
	}
	return true
}

// keyed are a job's own places in caches.
func (e *Engine) keyed(refs []builders.CacheRef, job pipelines.Job) []builders.CacheRef {
	var out []builders.CacheRef
	for _, r := range refs {
		out = append(out, r.Keyed(job.Target, job.Platform, e.Builder.Name()))
	}
	return out
}

// found reads the artifact at path, which must be whole: every blob there with
// its size.
func found(job pipelines.Job, path string) (pipelines.Artifact, error) {
	l, err := oci.Open(path)
	if err != nil {
		return pipelines.Artifact{}, err
	}
	d, err := l.Manifest(job.Platform)
	if err != nil {
		return pipelines.Artifact{}, err
	}
	m, _, err := l.Image(d)
	if err != nil {
		return pipelines.Artifact{}, err
	}
	for _, b := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		st, err := os.Stat(l.BlobPath(b.Digest))
		if err != nil {
			return pipelines.Artifact{}, err
		}
		if st.Size() != b.Size {
			return pipelines.Artifact{}, fmt.Errorf("%s: blob %s has %d bytes, not %d", path, b.Digest, st.Size(), b.Size)
		}
	}
	return pipelines.Artifact{Job: job.ID, Target: job.Target, Platform: job.Platform, Format: pipelines.FormatOCI,
		Path: path, Digest: d.Digest.String(), Size: d.Size, MediaType: d.MediaType}, nil
}
