package imagetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// DefaultTimeout ends a command that says nothing about it.
const DefaultTimeout = 5 * time.Minute

const (
	maxOutput  = 16 << 20 // bytes of a command's output that are searched
	keptOutput = 64 << 10 // and that a result keeps
)

// command runs one command on top of the artifact. The error is about the builder.
func (r Request) command(ctx context.Context, t pipelines.TestCommand, res *Result) error {
	run := pipelines.Run{Name: res.Name, Shell: t.Shell, Args: t.Args, Network: t.Network, Timeout: t.Timeout}
	if run.Network == "" {
		run.Network = pipelines.NetworkNone
	}
	if run.Timeout == 0 {
		run.Timeout = DefaultTimeout
	}
	g, err := pipelines.From(r.Artifact.Platform, pipelines.Layout{Path: r.Artifact.Path, Digest: r.Artifact.Digest}).Then(run).Graph()
	if err != nil {
		return err
	}
	caps, err := r.Builder.Capabilities(ctx)
	if err != nil {
		return err
	}
	if err := builders.Missing(r.Builder.Name(), caps, g); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(r.TempDir, "test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out := &output{step: g.ID()}
	_, err = r.Builder.Build(ctx, builders.Request{Job: r.Artifact.Job, Graph: g, Site: r.Site, Output: filepath.Join(dir, "out"), NoCache: true, Discard: true, Events: out.sink})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	text := out.text()
	res.Output = text[max(0, len(text)-keptOutput):]
	exit := 0
	var step *builders.StepError
	switch {
	case err == nil:
	case !errors.As(err, &step):
		return err
	case step.TimedOut:
		res.Problems = append(res.Problems, fmt.Sprintf("want exit code %d, it still ran after %s", t.ExitCode, run.Timeout))
		return nil
	case step.Emulator:
		res.Outcome = Error
		res.Problems = append(res.Problems, fmt.Sprintf("the emulator for %s crashed (exit status %d)", r.Artifact.Platform, step.ExitCode))
		return nil
	case step.ExitCode < 0:
		res.Outcome = Error
		res.Problems = append(res.Problems, fmt.Sprintf("it could not be run: %v", step.Err))
		return nil
	default:
		exit = step.ExitCode
	}
	if exit != t.ExitCode {
		res.Problems = append(res.Problems, fmt.Sprintf("want exit code %d, got %d", t.ExitCode, exit))
	}
	for _, s := range t.Output {
		if !strings.Contains(text, s) {
			res.Problems = append(res.Problems, fmt.Sprintf("want %q in its output, got %s", s, excerpt([]byte(text))))
		}
	}
	return nil
}

// output gathers the log of one step; of too much the end counts.
type output struct {
	step string
	mu   sync.Mutex
	b    strings.Builder
}

func (o *output) sink(e pipelines.Event) {
	if e.Kind != pipelines.EventLog || e.Step != o.step {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.Len() > 2*maxOutput {
		end := o.b.String()[o.b.Len()-maxOutput:]
		o.b.Reset()
		o.b.WriteString(end)
	}
	o.b.WriteString(e.Text)
	o.b.WriteByte('\n')
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
