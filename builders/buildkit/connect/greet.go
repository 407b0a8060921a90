package connect

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"
)

// MinVersion of BuildKit: images as OCI layouts, in and out, and the request that
// asks for the version came with it. Docker 20.10 has 0.8, Docker 23 has 0.11.
const MinVersion = "v0.11.0"

// greet asks for the version and judges it.
func (d *dialer) greet(ctx context.Context, c *client.Client, o Options) error {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = 20 * time.Second
	}
	inner, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	info, err := c.Info(inner)
	if err == nil {
		return d.judge(info.BuildkitVersion.Version)
	}
	s, _ := grpcerrors.AsGRPCStatus(err) // nil is codes.OK
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.Code() == codes.Unimplemented && strings.Contains(s.Message(), "unknown service"):
		return &Error{Address: d.addr.text, Problem: NotBuildKit, Err: err, Reason: "something else than BuildKit answers there: " + s.Message(),
			Fix: "name the socket or port of buildkitd; for a Docker daemon write buildkit:docker"}
	case s.Code() == codes.Unimplemented:
		return d.tooOld("does not even tell its version")
	case inner.Err() != nil:
		last, _ := d.note.get()
		reason := fmt.Sprintf("no answer within %s", timeout)
		if last != nil {
			reason += "; last: " + last.Error()
		}
		return &Error{Address: d.addr.text, Problem: Timeout, Reason: reason, Err: err, Fix: "is the host right, is a firewall in between?"}
	}
	return d.diagnose(ctx, err)
}

var semver = regexp.MustCompile(`^v?(\d+)\.(\d+)\.(\d+)`)

// judge wants a release of at least MinVersion. Builds that no one gave a version
// call themselves v0.0.0+unknown: they pass.
func (d *dialer) judge(version string) error {
	v, min := numbers(version), numbers(MinVersion)
	if v == [3]int{} {
		return nil
	}
	for i := range v {
		if v[i] > min[i] {
			return nil
		}
		if v[i] < min[i] {
			return d.tooOld("is " + version)
		}
	}
	return nil
}

func numbers(version string) (out [3]int) {
	m := semver.FindStringSubmatch(version)
	for i := range m[min(1, len(m)):] {
		out[i], _ = strconv.Atoi(m[i+1])
	}
	return out
}

func (d *dialer) tooOld(what string) error {
	return &Error{Address: d.addr.text, Problem: TooOld, Reason: fmt.Sprintf("the daemon is too old: it %s, BuildKit %s or newer is needed", what, MinVersion),
		Fix: "install a newer buildkitd; for a Docker daemon write buildkit:docker"}
}
