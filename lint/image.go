package lint

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImageOptions say what is known about an image besides itself.
type ImageOptions struct {
	// Name the image has in findings: a target, a reference, a layout's path.
	Name string
	// Target and Graph are the image's definition, for authors' lines; nil and the
	// zero Graph where there is none.
	Target *pipelines.Target
	Graph  pipelines.Graph
	// Now is the day that ends of life are judged by.
	Now time.Time
}

// Image looks at one built image of a layout. It reads every layer once and runs
// nothing. Errors are those of [rootfs.Open].
func Image(ctx context.Context, l *oci.Layout, d v1.Descriptor, o ImageOptions) ([]Finding, error) {
	var seen seen
	fsys, err := rootfs.Open(ctx, l, d, rootfs.Options{Visit: seen.visit, Keep: kept})
	if err != nil {
		return nil, err
	}
	i := &image{collector: newCollector(o.Name, oci.FromPlatform(fsys.Config.Platform)), fs: fsys, o: o}
	i.steps()
	i.contents(seen.found)
	i.release()
	i.layers()
	i.undone(seen.packages)
	i.history()
	i.files()
	i.documents()
	i.out = fold(i.out)
	return i.out, nil
}

// kept are the files that are read after all layers are.
func kept(e *rootfs.Entry) bool {
	switch e.Path {
	case "/etc/passwd", "/etc/group", "/etc/os-release", "/usr/lib/os-release", "/etc/machine-id", "/var/lib/dpkg/status":
		return e.Size <= 8<<20
	}
	return false
}

// seen takes what is found in contents while the layers stream by.
type seen struct {
	buf []byte
	// packages are the names in the package databases of layers.
	packages []database
	found    []struct {
		layer int
		f     Finding
	}
}

// Contents are read in pieces that overlap by what a key or token is long.
const (
	piece   = 1 << 20
	overlap = 8 << 10
	// farthest is how much of a text is read; longer ones are data.
	farthest = 64 << 20
)

// visit looks at one file of one layer.
func (s *seen) visit(layer int, e *rootfs.Entry, r io.Reader) error {
	if e.Size == 0 {
		return nil
	}
	if e.Size <= largestDatabase {
		if names, ok, err := packageNames(e.Path, r); ok || err != nil {
			if names != nil {
				s.packages = append(s.packages, database{e.Path, layer, names})
			}
			return err
		}
	}
	if s.buf == nil {
		s.buf = make([]byte, piece)
	}
	have := 0
	for total := 0; total < farthest; {
		want := len(s.buf)
		if total == 0 {
			want = min(want, 8000) // enough to tell text from data
		}
		n, err := io.ReadFull(r, s.buf[have:want])
		have, total = have+n, total+n
		ended := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !ended {
			return err
		}
		if total == n && bytes.IndexByte(s.buf[:have], 0) >= 0 {
			s.look(layer, e, s.buf[:have])
			return nil
		}
		if want < len(s.buf) && !ended {
			continue // it is text: fill the buffer before looking
		}
		s.look(layer, e, s.buf[:have])
		if ended {
			return nil
		}
		have = copy(s.buf, s.buf[have-overlap:have])
	}
	return nil
}

func (s *seen) look(layer int, e *rootfs.Entry, data []byte) {
	for _, f := range contentFindings(e.Path, data) {
		same := func(o struct {
			layer int
			f     Finding
		}) bool {
			return o.layer == layer && o.f.Path == f.Path && o.f.Rule == f.Rule
		}
		if !slices.ContainsFunc(s.found, same) {
			s.found = append(s.found, struct {
				layer int
				f     Finding
			}{layer, f})
		}
	}
}

// image is the state of one look.
type image struct {
	*collector
	fs *rootfs.FS
	o  ImageOptions
	// made are the nodes that made each layer; none where it is not known.
	made [][]pipelines.Node
	base pipelines.Node
}

// steps finds the nodes behind each layer: cfbuild's history has the names of the
// steps of each group, joined by "; ". What it configures for a bootstrap is not in
// the definition and belongs to the base.
func (i *image) steps() {
	i.made = make([][]pipelines.Node, len(i.fs.Layers))
	nodes := chain(i.o.Graph)
	if len(nodes) == 0 {
		return
	}
	i.base = nodes[0]
	nodes = nodes[1:]
	layer := 0
	for _, h := range i.fs.Config.History {
		var group []pipelines.Node
		if h.Comment == "cfbuild" {
			group = matching(nodes, h.CreatedBy)
		}
		if len(group) > 0 {
			for k, n := range nodes {
				if n.ID == group[len(group)-1].ID {
					nodes = nodes[k+1:]
					break
				}
			}
		}
		if h.EmptyLayer {
			continue
		}
		if layer < len(i.made) {
			i.made[layer] = group
		}
		layer++
	}
}

// matching finds the run of nodes whose names make a history entry.
func matching(nodes []pipelines.Node, createdBy string) []pipelines.Node {
	for a := range nodes {
		if !strings.HasPrefix(createdBy, nodes[a].Name) {
			continue
		}
		joined := ""
		for b := a; b < len(nodes); b++ {
			if b > a {
				joined += "; "
			}
			joined += nodes[b].Name
			if joined == createdBy {
				return nodes[a : b+1]
			}
			if len(joined) > len(createdBy) {
				break
			}
		}
	}
	return nil
}

// at completes a finding by where it is: the layer, the step, the author's line.
func (i *image) at(rule string, layer int, f Finding) {
	if layer >= 0 && layer < len(i.fs.Layers) {
		l := i.fs.Layers[layer]
		f.Layer = l.Digest.String()
		f.Step = l.CreatedBy
		n := i.base
		for k, m := range i.made[layer] {
			file, isFile := m.Op.(pipelines.File)
			if k == 0 || isFile && f.Path != "" && file.Path == f.Path {
				n, f.Step = m, m.Name
			}
		}
		f.Where = n.Where
	}
	i.add(rule, f)
}

// path adds a finding about one path.
func (i *image) path(rule string, e *rootfs.Entry, format string, args ...any) {
	i.at(rule, i.origin(e), Finding{Path: e.Path, Message: fmt.Sprintf(format, args...)})
}

// origin is the layer that made an entry what it is. Layers state the directories
// above what they change again; the first to have one as it is made it so.
func (i *image) origin(e *rootfs.Entry) int {
	layer := e.Layer
	if e.Type != rootfs.Dir {
		return layer
	}
	for l := e.Layer - 1; l >= 0; l-- {
		for _, o := range i.fs.Layers[l].Entries {
			switch {
			case o.Path != e.Path:
			case o.Type == e.Type && o.Mode == e.Mode && o.UID == e.UID && o.GID == e.GID:
				layer = l
			default:
				return layer
			}
		}
	}
	return layer
}

// visible are the rules that count only for files of the finished image.
var visible = []string{SignaturesOff, EnvInFile, AuthorizedKeys}

// contents adds what was found in files.
func (i *image) contents(found []struct {
	layer int
	f     Finding
}) {
	for _, x := range found {
		e, ok := i.fs.Lookup(x.f.Path)
		hidden := !ok || e.Layer != x.layer
		if hidden {
			if slices.Contains(visible, x.f.Rule) {
				continue
			}
			x.f.Message += "; a later layer deletes or replaces it, and everyone who has the image can still read it"
		}
		i.at(x.f.Rule, x.layer, x.f)
	}
}

// release judges the distribution's end of life.
func (i *image) release() {
	var data []byte
	for _, p := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if b, err := i.fs.ReadFile(p, 1<<20); err == nil {
			data = b
			break
		}
	}
	name, end := releaseEnd(data)
	declared := i.o.Target != nil && i.o.Target.Ended(i.o.Now)
	f := Finding{Subject: "release", Where: i.base.Where, Step: i.base.Name}
	switch {
	case declared:
		f.Message = fmt.Sprintf("support ended on %s, which the target declares", i.o.Target.EndOfLife)
		i.add(EndOfLifeSaid, f)
	case end != "" && over(end, i.o.Now):
		f.Message = fmt.Sprintf("support of %s ended on %s", name, end)
		if i.o.Target != nil {
			f.Message += ", and the target does not declare it"
		}
		i.add(EndOfLife, f)
	}
}

// documents are the rules on the configuration.
func (i *image) documents() {
	c := i.fs.Config.Config
	cfg := config{env: map[string]string{}, labels: c.Labels, entrypoint: c.Entrypoint, cmd: c.Cmd, user: c.User, workdir: c.WorkingDir, stop: c.StopSignal}
	if nodes := chain(i.o.Graph); len(nodes) > 0 {
		var own config
		for _, n := range nodes {
			if op, ok := n.Op.(pipelines.Configure); ok {
				own.apply(n, op)
			}
		}
		cfg.nodes, cfg.result = own.nodes, i.o.Graph.Result()
	}
	for _, kv := range c.Env {
		k, v, _ := strings.Cut(kv, "=")
		cfg.env[k] = v
	}
	for v := range c.Volumes {
		cfg.volumes = append(cfg.volumes, v)
	}
	for p := range c.ExposedPorts {
		cfg.ports = append(cfg.ports, p)
	}
	slices.Sort(cfg.volumes)
	slices.Sort(cfg.ports)
	_, cfg.help = i.fs.Lookup("/.singularity.d/runscript.help")
	cfg.rules(i.collector)
}
