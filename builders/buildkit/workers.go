//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildkit/connect"
	"github.com/cfbuild/cfbuild/builders/buildkit/pool"
	"github.com/cfbuild/cfbuild/builders/buildkit/status"
	"github.com/moby/buildkit/client"
)

// openAny opens one daemon, or several as one builder.
func openAny(ctx context.Context, o builders.Options) (builders.Builder, error) {
	if !pool.IsList(o.Address) {
		return open(ctx, o)
	}
	list, err := pool.Parse(o.Address, func(address string) error {
		_, err := connect.Parse(address)
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := openAt(ctx, o, list[0].Address); err != nil { // what is wrong with the options
		return nil, err
	}
	return pool.New(pool.Options{Name: Name, Workers: list, Log: o.Log,
		Open: func(ctx context.Context, address string) (builders.Builder, error) { return openAt(ctx, o, address) }}), nil
}

func openAt(ctx context.Context, o builders.Options, address string) (builders.Builder, error) {
	o.Address = address
	return open(ctx, o)
}

// connected is what every builder of one daemon is.
type connected interface {
	client(ctx context.Context) (*client.Client, func(), error)
}

func workers(ctx context.Context, o builders.Options, timeout time.Duration) ([]builders.WorkerStatus, error) {
	return status.Workers(ctx, o.Address, timeout, func(ctx context.Context, address string) (*client.Client, func(), error) {
		b, err := openAt(ctx, o, address)
		if err != nil {
			return nil, nil, err
		}
		return b.(connected).client(ctx)
	})
}
