//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/registries"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/pelletier/go-toml/v2"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
	"golang.org/x/net/http/httpproxy"
)

// resolvePull asks the registry which image a reference means for a platform. The
// image is brought here when it is needed.
func (x *executor) resolvePull(ctx context.Context, n pipelines.Node, o pipelines.Pull) (*image, error) {
	named, err := reference.ParseNormalizedNamed(o.Ref)
	if err != nil {
		return nil, fmt.Errorf("image reference %q: %w", o.Ref, err)
	}
	if d, ok := named.(reference.Digested); ok {
		// A digest says more than the tag beside it, and the registry takes one.
		if named, err = reference.WithDigest(reference.TrimNamed(named), d.Digest()); err != nil {
			return nil, err
		}
	}
	named = reference.TagNameOnly(named)
	sys, err := x.registries(n.Platform)
	if err != nil {
		return nil, err
	}
	// For this registry alone: package image gives them to no mirror of another name.
	if c, ok := registries.Credential(x.r.credentials(), named); ok {
		sys.DockerAuthConfig = &types.DockerAuthConfig{Username: c.User, Password: c.Password}
	}
	d, pinned := digestOf(named)
	img := &image{}
	kept, err := x.st.blobs()
	if err != nil {
		return nil, err
	}
	img.Layout = kept.Layout
	if !pinned || !x.st.pulled(img, d, n.Platform) {
		if d, err = chooseInstance(ctx, sys, named); err != nil {
			return nil, pullError(err, n)
		}
		if !x.st.pulled(img, d, n.Platform) {
			exact, err := reference.WithDigest(reference.TrimNamed(named), d)
			if err != nil {
				return nil, err
			}
			img.fetch = func(ctx context.Context) error { return x.pull(ctx, n, img, sys, exact) }
		}
	}
	img.desc = v1.Descriptor{Digest: d}
	return img, nil
}

func digestOf(named reference.Named) (digest.Digest, bool) {
	d, ok := named.(reference.Digested)
	if !ok {
		return "", false
	}
	return d.Digest(), true
}

// pullRecord says what an image of a registry became here.
type pullRecord struct {
	Manifest v1.Descriptor `json:"manifest"`
}

func (st *store) pullMeta(d digest.Digest, p pipelines.Platform) string {
	return filepath.Join(st.dir, "meta", "pull-"+d.Encoded()+"-"+p.Short())
}

// pulled opens an image that was pulled before and is whole.
func (st *store) pulled(img *image, d digest.Digest, p pipelines.Platform) bool {
	var r pullRecord
	if !atomicfile.ReadJSON(st.pullMeta(d, p), &r) || img.Read(r.Manifest, p) != nil {
		return false
	}
	for _, l := range img.Manifest.Layers {
		if !(assemble.Blobs{Layout: img.Layout}).Has(l.Digest, l.Size) {
			return false
		}
	}
	return true
}

// load brings a pulled image here.
func (x *executor) load(ctx context.Context, src source) error {
	if src.image == nil || src.image.fetch == nil {
		return nil
	}
	x.c.event(src.node, pipelines.EventStart, "")
	if err := src.image.fetch(ctx); err != nil {
		return x.failed(src.node, pullError(err, src.node))
	}
	src.image.fetch = nil
	return nil
}

func chooseInstance(ctx context.Context, sys *types.SystemContext, named reference.Named) (digest.Digest, error) {
	ref, err := docker.NewReference(named)
	if err != nil {
		return "", err
	}
	src, err := ref.NewImageSource(ctx, sys)
	if err != nil {
		return "", err
	}
	defer src.Close()
	b, mime, err := src.GetManifest(ctx, nil)
	if err != nil {
		return "", err
	}
	if !manifest.MIMETypeIsMultiImage(manifest.NormalizedMIMEType(mime)) {
		return manifest.Digest(b)
	}
	list, err := manifest.ListFromBlob(b, mime)
	if err != nil {
		return "", err
	}
	return list.ChooseInstance(sys)
}

// pull copies an image into the shared blobs.
func (x *executor) pull(ctx context.Context, n pipelines.Node, img *image, sys *types.SystemContext, named reference.Named) error {
	src, err := docker.NewReference(named)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(x.st.run, "pull-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	dst, err := layout.NewReference(filepath.Join(dir, "layout"), "")
	if err != nil {
		return err
	}
	// Content is addressed by digest and checked; signatures are the site's
	// registry's business.
	policy, err := signature.NewPolicyContext(&signature.Policy{Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}})
	if err != nil {
		return err
	}
	defer policy.Destroy()
	progress := make(chan types.ProgressProperties)
	var watch sync.WaitGroup
	watch.Go(func() { x.progress(n, progress) })
	b, err := copy.Image(ctx, policy, dst, src, &copy.Options{RemoveSignatures: true, SourceCtx: sys,
		DestinationCtx:        &types.SystemContext{OCISharedBlobDirPath: filepath.Join(img.Layout.Dir(), v1.ImageBlobsDir)},
		ForceManifestMIMEType: v1.MediaTypeImageManifest,
		Progress:              progress, ProgressInterval: 250 * time.Millisecond})
	close(progress)
	watch.Wait()
	if err != nil {
		return err
	}
	r := pullRecord{v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}}
	if err := img.Read(r.Manifest, n.Platform); err != nil {
		return err
	}
	d, _ := digestOf(named)
	return atomicfile.WriteJSON(x.st.pullMeta(d, n.Platform), r)
}

// progress turns the bytes of all blobs into events.
func (x *executor) progress(n pipelines.Node, from <-chan types.ProgressProperties) {
	current, total := map[digest.Digest]int64{}, map[digest.Digest]int64{}
	for p := range from {
		current[p.Artifact.Digest], total[p.Artifact.Digest] = int64(p.Offset), p.Artifact.Size
		e := pipelines.Event{Kind: pipelines.EventProgress, Step: n.ID, Name: n.Name, Unit: "B"}
		for d, t := range total {
			e.Current += current[d]
			e.Total += max(t, 0)
		}
		x.c.send(answer{Event: &e})
	}
}

// registries writes what the site says about registries in the form that package
// image reads, and nothing of this machine's own beside its credentials.
func (x *executor) registries(p pipelines.Platform) (*types.SystemContext, error) {
	sys := &types.SystemContext{OSChoice: p.OS, ArchitectureChoice: p.Architecture, VariantChoice: p.Variant,
		SystemRegistriesConfPath:    filepath.Join(x.st.run, "registries.conf"),
		SystemRegistriesConfDirPath: filepath.Join(x.st.run, "registries.conf.d"),
		BlobInfoCacheDir:            x.st.run,
		BigFilesTemporaryDir:        x.st.run,
		DockerRegistryUserAgent:     "cfbuild",
		AuthFilePath:                x.r.AuthFile,
		DockerProxy:                 proxyFunc(x.r.Site.Proxy)}
	if len(x.r.Site.BuildCAs()) > 0 {
		sys.DockerCertPath = filepath.Join(x.st.run, "certs")
	}
	conf, err := registriesConf(x.r.Site.Registries)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(sys.SystemRegistriesConfPath, conf, 0o600); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(sys.SystemRegistriesConfDirPath, 0o700); err != nil {
		return nil, err
	}
	if sys.DockerCertPath != "" {
		if err := os.MkdirAll(sys.DockerCertPath, 0o700); err != nil {
			return nil, err
		}
		for i, ca := range x.r.Site.BuildCAs() {
			if err := os.WriteFile(filepath.Join(sys.DockerCertPath, fmt.Sprintf("%d.crt", i)), ca.PEM, 0o600); err != nil {
				return nil, err
			}
		}
	}
	return sys, nil
}

func proxyFunc(p site.Proxy) func(*url.URL) (*url.URL, error) {
	if p == (site.Proxy{}) {
		return nil
	}
	return (&httpproxy.Config{HTTPProxy: p.HTTP, HTTPSProxy: p.HTTPS, NoProxy: p.No}).ProxyFunc()
}

// registriesConf writes containers-registries.conf(5).
func registriesConf(rs []site.Registry) ([]byte, error) {
	type mirror struct {
		Location string `toml:"location"`
		Insecure bool   `toml:"insecure,omitempty"`
	}
	type registry struct {
		Prefix   string   `toml:"prefix"`
		Location string   `toml:"location"`
		Insecure bool     `toml:"insecure,omitempty"`
		Mirror   []mirror `toml:"mirror,omitempty"`
	}
	var conf struct {
		Registry []registry `toml:"registry,omitempty"`
	}
	for _, r := range rs {
		out := registry{Prefix: r.Prefix, Location: r.Location, Insecure: r.Insecure}
		if out.Location == "" {
			out.Location = strings.TrimPrefix(r.Prefix, "*.")
		}
		for _, m := range r.Mirrors {
			out.Mirror = append(out.Mirror, mirror{m.Location, m.Insecure})
		}
		conf.Registry = append(conf.Registry, out)
	}
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(conf); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// pullError adds advice to what registries say most often.
func pullError(err error, n pipelines.Node) error {
	s := err.Error()
	has := func(what ...string) bool {
		for _, w := range what {
			if strings.Contains(s, w) {
				return true
			}
		}
		return false
	}
	var hint string
	switch {
	case errors.As(err, new(*hinted)):
		return err
	case has("unauthorized", "authentication required", "denied"):
		hint = "log in with podman login or docker login, or check the name: registries answer like this for images that do not exist"
	case has("manifest unknown", "name unknown", "not found"):
		hint = "check the image's name and tag"
	case has("no image found in"):
		hint = fmt.Sprintf("the image is not offered for %s", n.Platform)
	case has("certificate signed by unknown authority", "x509:"):
		hint = "add the registry's CA to the site, or mark the registry insecure"
	case has("server gave HTTP response to HTTPS client"):
		hint = "the registry speaks plain HTTP: mark it insecure in the site"
	case has("no such host", "connection refused", "timeout", "network is unreachable"):
		hint = "check the network, the site's proxy and its registry mirrors"
	default:
		return err
	}
	return &hinted{err, hint}
}

// secretLines are the values that must not leave in a log: each line of a secret
// that is long enough not to be found everywhere.
func secretLines(v []byte) [][]byte {
	var out [][]byte
	for line := range bytes.SplitSeq(v, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) >= 4 {
			out = append(out, line, []byte(hex.EncodeToString(line)))
		}
	}
	return out
}
