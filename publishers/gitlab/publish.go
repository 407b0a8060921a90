package gitlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/publishers"
)

// Publish puts files into one version of a package. nil means that all of them are
// there and visible, read back from GitLab's list with size and SHA-256, with a
// SHA256SUMS that names them and whatever else the version has. Nothing that is
// there is sent again. Sizes, names and, with [Refuse], files that are there already
// are looked at before a byte is sent.
//
// Files of one version are sent one after the other, as GitLab asks for. Several
// jobs that publish to the same version at the same time (one for each platform)
// come to a complete SHA256SUMS all the same, but a reader may see some of the files
// before the others.
//
// A deploy token may neither list nor delete. With one the files are asked for by
// name, a new version is visible from its first file on, and SHA256SUMS adds to the
// one that is there.
//
// The error is a [publishers.PublishError] and says what GitLab holds by then;
// repeating the call goes on from there.
func Publish(ctx context.Context, files []File, o Options) (Receipt, error) {
	c, err := New(o)
	if err != nil {
		return Receipt{}, err
	}
	defer c.http.CloseIdleConnections()
	j := &job{c: c, stage: "files"}
	defer j.close()
	r, err := j.run(ctx, files)
	if err != nil {
		var pe *publishers.PublishError
		if errors.As(err, &pe) {
			return Receipt{}, err
		}
		return Receipt{}, &publishers.PublishError{Ref: c.o.ref(), Stage: j.stage, Done: j.done(), Fix: j.fix(err), Err: err}
	}
	return r, nil
}

// job is one call of [Publish].
type job struct {
	c     *Client
	stage string
	open  []*content
	metas map[string]any // by name of the file they are about
	have  there
	// reveal: the package is not visible yet.
	reveal  bool
	created bool
	sent    []Stored
	hint    string
	taken   int64
	lost    []string // names whose old copy was deleted before the new one was there
}

func (j *job) close() {
	for _, f := range j.open {
		f.close()
	}
}

func (j *job) fix(err error) string {
	if j.hint != "" {
		return j.hint
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "check the path and that this user may read it"
	}
	return j.c.fix(err)
}

// done says what GitLab holds now.
func (j *job) done() string {
	n := 0
	for _, s := range j.sent {
		if s.Sent {
			n++
		}
	}
	var out []string
	if n > 0 {
		out = append(out, fmt.Sprintf("%d of %d files were sent", n, len(j.open)+len(j.metas)+1))
		if j.reveal && j.c.lists() {
			out = append(out, "the version is still hidden")
		}
	}
	for _, name := range j.lost {
		out = append(out, "the old "+name+" is deleted")
	}
	return strings.Join(out, "; ")
}

func (j *job) run(ctx context.Context, files []File) (Receipt, error) {
	c := j.c
	var names []string
	j.metas = map[string]any{}
	for _, f := range files {
		names = append(names, f.Name)
		if f.Meta != nil {
			names = append(names, f.Name+".json")
			j.metas[f.Name] = f.Meta
		}
	}
	if err := Check(c.o, names...); err != nil {
		return Receipt{}, err
	}
	if err := j.measure(files); err != nil {
		return Receipt{}, err
	}
	j.stage = "connect"
	c.warnPlain()
	var err error
	if j.have, err = c.look(ctx, append(slices.Clone(names), Sums)); err != nil {
		return Receipt{}, err
	}
	j.reveal = c.lists() && (j.have.status == "" || j.have.status == "hidden")
	j.stage = "compare"
	known := map[string]string{} // SHA-256 of what is there already, by name
	for _, f := range j.open {
		sum, err := j.compare(ctx, f)
		if err != nil {
			return Receipt{}, err
		}
		if sum != "" {
			known[f.name] = sum
		}
	}
	p := &publishers.Progress{Events: c.o.Events, Name: "push to " + c.o.ref()}
	for _, f := range j.open {
		if known[f.name] == "" {
			p.Total += f.size
		}
	}
	for _, f := range j.open {
		j.stage = "upload"
		sum := known[f.name]
		if sum == "" {
			if sum, err = j.put(ctx, f, p); err != nil {
				return Receipt{}, err
			}
		}
		j.sent = append(j.sent, Stored{Name: f.name, Size: f.size, SHA256: sum, Sent: known[f.name] == ""})
		if meta := j.metas[f.name]; meta != nil {
			if err := j.describe(ctx, f, sum, meta); err != nil {
				return Receipt{}, err
			}
		}
	}
	if err := j.finish(ctx); err != nil {
		return Receipt{}, err
	}
	return Receipt{Package: c.o.Package, Version: c.o.Version, URL: c.url(), Files: j.sent, Sent: j.taken}, nil
}

// url is where the files of the version are, with a slash at the end.
func (c *Client) url() string {
	u, _ := c.gl.GenericPackages.FormatPackageURL(c.o.Project, c.o.Package, c.o.Version, "")
	return strings.TrimSuffix(c.gl.BaseURL().String(), "/") + "/" + strings.ReplaceAll(u, "%2E", ".")
}

// measure opens the files and holds them against the limit.
func (j *job) measure(files []File) error {
	if len(files) == 0 {
		return errors.New("there is nothing to publish")
	}
	for _, f := range files {
		in, err := open(f)
		if err != nil {
			return err
		}
		j.open = append(j.open, in)
		switch {
		case in.size == 0:
			return fmt.Errorf("%s: is empty", f.Name)
		case in.size > j.c.o.MaxSize:
			j.hint = fmt.Sprintf("an administrator of %s can raise the limit for generic packages; packages push --max-size tells a limit other than GitLab's 5 GiB; a registry (oras://) has none", j.c.host)
			return fmt.Errorf("%s: has %d bytes, more than the limit of %d for one file", f.Name, in.size, j.c.o.MaxSize)
		}
	}
	return nil
}

// compare gives the SHA-256 of a file that is there as it is; empty: it has to be
// sent. A file is read for this only when one of its size is there.
func (j *job) compare(ctx context.Context, f *content) (string, error) {
	old, ok := j.have.newest(f.name)
	if !ok {
		return "", nil
	}
	if old.size == f.size || old.size < 0 {
		if old.sha256 == "" { // files of old instances have none in lists
			var err error
			if old, ok, err = j.c.ask(ctx, f.name); err != nil || !ok {
				return "", err
			}
		}
		sum, err := f.sum(ctx)
		if err != nil {
			return "", err
		}
		if old.sha256 == sum {
			return sum, nil
		}
	}
	if j.c.o.Policy != Refuse {
		return "", nil
	}
	j.hint = "publish it as another version, or say what to do with --on-conflict replace or add"
	return "", fmt.Errorf("%s: is there already and differs (%d bytes, sha256:%s)", f.name, old.size, unknown(old.sha256))
}

func unknown(sum string) string {
	if sum == "" {
		return "unknown"
	}
	return sum
}
