package ca

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Where the probe's things are in the image.
const (
	assetsDir  = "/run/cfbuild-proof" // mounted while the step runs
	resultsDir = "/cfbuild-proof"     // in the layer that is thrown away
)

// maxOutput is how much of what one client printed is read back (bytes, the end).
const maxOutput = 64 << 10

// Probe runs the clients of an image.
type Probe struct {
	Builder   builders.Builder
	Authority *Authority
	Origin    *Origin
	// Limit is how long one client may take; 0 means 2 minutes.
	Limit time.Duration
	// TempDir is a directory for images that are thrown away.
	TempDir string
	Events  pipelines.Sink
}

// Ran is how one client fared.
type Ran struct {
	// Exit is the client's exit status; 124 and above 128 also stand for one that
	// took too long.
	Exit int
	// Served says how many requests of this client were read by the interceptor.
	Served int
	// Line is the line of its output that says what went wrong.
	Line string
	// Output is the end of what it printed.
	Output string
}

// Got says whether the client got what it asked for.
func (r Ran) Got() bool { return r.Exit == 0 && r.Served > 0 }

// NoShellError says that an image has nothing to run clients with.
type NoShellError struct{ Platform pipelines.Platform }

func (e *NoShellError) Error() string {
	return fmt.Sprintf("image for %s: has no /bin/sh, and clients are run by a script", e.Platform)
}

// Hint is what to do about it.
func (e *NoShellError) Hint() string {
	return "test the image it is made from, which has a shell: the authorities come from there"
}

// Run runs every client of the image, as root and in the image's own environment,
// and gives those that are there by name. s is the site of the step: with the
// authority among those trusted while building, or without.
func (p Probe) Run(ctx context.Context, image pipelines.Artifact, s site.Site) (out map[string]Ran, err error) {
	i, err := Intercept(p.Authority, p.Origin)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	dir, err := os.MkdirTemp(p.TempDir, "ca-proof-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	g, err := p.image(image, i).Graph()
	if err != nil {
		return nil, err
	}
	layout := filepath.Join(dir, "image")
	_, err = p.Builder.Build(ctx, builders.Request{Job: image.Job, Graph: g, Site: s, Output: layout, Epoch: time.Unix(1e9, 0), Events: p.only(g.ID())})
	if err != nil {
		var step *builders.StepError
		if errors.As(err, &step) && ctx.Err() == nil && !hasShell(ctx, image) {
			return nil, &NoShellError{image.Platform}
		}
		return nil, err
	}
	return read(ctx, layout, image.Platform, i.Served())
}

// only passes on what happens in one step, and what belongs to none.
func (p Probe) only(step string) pipelines.Sink {
	return func(e pipelines.Event) {
		if e.Step == "" || e.Step == step {
			p.Events.Send(e)
		}
	}
}

func (p Probe) limit() time.Duration {
	if p.Limit == 0 {
		return 2 * time.Minute
	}
	return p.Limit
}

// image is the image with the step that runs the clients.
func (p Probe) image(image pipelines.Artifact, i *Interceptor) pipelines.Image {
	assets := pipelines.From(image.Platform, pipelines.Scratch{})
	put := func(name string, data []byte) {
		assets = assets.Then(pipelines.File{Path: "/assets/" + name, Data: data})
	}
	for n, c := range Clients() {
		put(fmt.Sprintf("%d.there", n), []byte(c.There+"\n"))
		put(fmt.Sprintf("%d.try", n), []byte(c.Try+"\n"))
	}
	put(javaClass+".class", javaProbe())
	put("apt.asc", p.Origin.Key)
	return pipelines.From(image.Platform, pipelines.Layout{Path: image.Path, Digest: image.Digest}).Then(pipelines.Run{
		Name:   "clients behind an inspecting proxy",
		User:   "0",
		Dir:    "/",
		Shell:  script(len(Clients())),
		Mounts: []pipelines.Mount{{From: assets, Src: "/assets", Target: assetsDir}},
		Env: map[string]string{
			"A": assetsDir, "R": resultsDir, "HOST": "localhost", "PORT": strconv.Itoa(i.Port),
			"LIMIT": strconv.Itoa(int(p.limit().Seconds())),
			// Never a result of another run: ports come again.
			"PROOF":    rand.Text(),
			"no_proxy": "localhost,127.0.0.1,::1", "NO_PROXY": "localhost,127.0.0.1,::1",
			"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "DEBIAN_FRONTEND": "noninteractive",
		},
		Timeout: time.Duration(len(Clients())+1) * p.limit(),
	})
}

// script runs the clients one by one. Each has a URL of its own, so that what
// reaches the interceptor is known to be its request.
func script(clients int) string {
	return fmt.Sprintf(`set +e
limit=
if command -v timeout >/dev/null 2>&1; then limit="timeout $LIMIT"; fi
mkdir -p "$R"
n=0
while [ $n -lt %d ]; do
	export U="https://$HOST:$PORT/$n" W="$R/work" HOME="$R/work"
	rm -rf "$W"
	mkdir "$W"
	if sh "$A/$n.there" >/dev/null 2>&1 </dev/null; then
		$limit sh -e "$A/$n.try" >"$R/$n.out" 2>&1 </dev/null
		echo $? >"$R/$n.exit"
	fi
	n=$((n + 1))
done
rm -rf "$R/work"
exit 0
`, clients)
}

// read reads back how the clients fared.
func read(ctx context.Context, dir string, platform pipelines.Platform, served map[string]int) (map[string]Ran, error) {
	l, err := oci.Open(dir)
	if err != nil {
		return nil, err
	}
	d, err := l.Manifest(platform)
	if err != nil {
		return nil, err
	}
	ours := strings.TrimPrefix(resultsDir, "/") + "/"
	fs, err := rootfs.Open(ctx, l, d, rootfs.Options{Keep: func(e *rootfs.Entry) bool {
		return strings.HasPrefix(strings.TrimPrefix(e.Path, "/"), ours)
	}})
	if err != nil {
		return nil, err
	}
	out := map[string]Ran{}
	for n, c := range Clients() {
		exit, err := fs.ReadFile(fmt.Sprintf("%s/%d.exit", resultsDir, n), 16)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r := Ran{Served: served[strconv.Itoa(n)]}
		if r.Exit, err = strconv.Atoi(strings.TrimSpace(string(exit))); err != nil {
			return nil, fmt.Errorf("%s: exit status: %w", c.Name, err)
		}
		e, err := fs.Resolve(fmt.Sprintf("%s/%d.out", resultsDir, n))
		if err != nil {
			return nil, err
		}
		text, err := fs.Read(e, 64<<20)
		if err != nil {
			return nil, err
		}
		r.Output = strings.ToValidUTF8(string(text[max(0, len(text)-maxOutput):]), "\uFFFD")
		r.Line = telling(r)
		out[c.Name] = r
	}
	return out, nil
}

// telling picks the line that says what went wrong: the last about certificates,
// else the last about TLS, else the last. Lines of a stack are passed over.
func telling(r Ran) string {
	best, rank := "", -1
	for line := range strings.Lines(r.Output) {
		line = strings.TrimSpace(line)
		first, _, _ := strings.Cut(line, " ")
		if line == "" || first == "at" || first == "from" || first == "File" {
			continue
		}
		n := 0
		for w := range strings.FieldsSeq(strings.ToLower(line)) {
			switch {
			case strings.Contains(w, "://"), strings.Contains(w, ".html"):
			case strings.Contains(w, "cert"):
				n = max(n, 2)
			case strings.Contains(w, "ssl"), strings.Contains(w, "tls"), strings.Contains(w, "pkix"):
				n = max(n, 1)
			}
		}
		if n >= rank {
			best, rank = line, n
		}
	}
	if best == "" && r.Exit == 124 {
		return "took too long"
	}
	return best
}

// hasShell reads the image, which no program of it has to run for.
func hasShell(ctx context.Context, image pipelines.Artifact) bool {
	l, err := oci.Open(image.Path)
	if err != nil {
		return true // some other error is the better one
	}
	d, err := l.Manifest(image.Platform)
	if err != nil {
		return true
	}
	fs, err := rootfs.Open(ctx, l, d, rootfs.Options{})
	if err != nil {
		return true
	}
	_, err = fs.Resolve("/bin/sh")
	return err == nil
}
