//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"fmt"
	"path"
	"strings"

	gateway "github.com/moby/buildkit/frontend/gateway/client"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// gatewayTree reads a result on the daemon.
type gatewayTree struct {
	ref   gateway.Reference // nil: the empty image
	lists map[string]listing
}

type listing struct {
	have map[string]*fstypes.Stat
	ok   bool
}

func (t *gatewayTree) list(ctx context.Context, dir string) (map[string]*fstypes.Stat, bool, error) {
	if t.ref == nil {
		return nil, path.Clean(dir) == "/", nil
	}
	if l, ok := t.lists[dir]; ok {
		return l.have, l.ok, nil
	}
	all, err := t.ref.ReadDir(ctx, gateway.ReadDirRequest{Path: dir})
	l := listing{have: map[string]*fstypes.Stat{}, ok: err == nil}
	if err != nil && !missing(err) {
		return nil, false, fmt.Errorf("look into %s: %w", dir, err)
	}
	for _, st := range all {
		l.have[path.Base(st.Path)] = st
	}
	t.lists[dir] = l
	return l.have, l.ok, nil
}

func (t *gatewayTree) read(ctx context.Context, file string) ([]byte, error) {
	if t.ref == nil {
		return nil, nil
	}
	b, err := t.ref.ReadFile(ctx, gateway.ReadRequest{Filename: file})
	if err != nil && missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return b, nil
}

// missing: the daemon's errors cross the wire as texts.
func missing(err error) bool {
	s := err.Error()
	return strings.Contains(s, "no such file or directory") || strings.Contains(s, "not a directory")
}
