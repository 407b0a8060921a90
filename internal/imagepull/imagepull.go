//go:build containers_image_openpgp

package imagepull

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/oci"
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

// Puller pulls for one build.
type Puller struct {
	Site site.Site
	// Blobs takes the images. Meta is a directory that keeps what was pulled.
	Blobs *oci.Layout
	Meta  string
	// Temp is a directory that ends with the build.
	Temp string
	// Credentials by registry host win over AuthFile, a docker or podman auth file. Empty:
	// their usual places.
	Credentials map[string]builders.Credential
	AuthFile    string
}

// Image is what a reference means.
type Image struct {
	// Digest of the manifest as the registry has it; what is here may have another, as
	// it is kept as an OCI image.
	Digest digest.Digest
	// Image is filled once it is here.
	Image *assemble.Image

	p        *Puller
	exact    reference.Named
	platform pipelines.Platform
	sys      *types.SystemContext
}

// Here: there is nothing to fetch.
func (i *Image) Here() bool { return i.exact == nil }

// Find asks the registry which image a reference means for a platform, unless a digest
// says so and the image is here. Its errors have a hint where there is one.
func (p *Puller) Find(ctx context.Context, ref string, pl pipelines.Platform) (*Image, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, fmt.Errorf("image reference %q: %w", ref, err)
	}
	if d, ok := named.(reference.Digested); ok {
		// A digest says more than the tag beside it, and the registry takes one.
		if named, err = reference.WithDigest(reference.TrimNamed(named), d.Digest()); err != nil {
			return nil, err
		}
	}
	named = reference.TagNameOnly(named)
	i := &Image{p: p, platform: pl, Image: &assemble.Image{Layout: p.Blobs}}
	if i.sys, err = p.registries(pl); err != nil {
		return nil, err
	}
	// For this registry alone: package image gives them to no mirror of another name.
	if c, ok := registries.Credential(p.Credentials, named); ok {
		i.sys.DockerAuthConfig = &types.DockerAuthConfig{Username: c.User, Password: c.Password}
	}
	d, pinned := digestOf(named)
	if pinned && i.kept(d) {
		i.Digest = d
		return i, nil
	}
	if i.Digest, err = chooseInstance(ctx, i.sys, named); err != nil {
		return nil, withHint(err, pl)
	}
	if i.kept(i.Digest) {
		return i, nil
	}
	i.exact, err = reference.WithDigest(reference.TrimNamed(named), i.Digest)
	return i, err
}

func digestOf(named reference.Named) (digest.Digest, bool) {
	d, ok := named.(reference.Digested)
	if !ok {
		return "", false
	}
	return d.Digest(), true
}

// Record says what an image of a registry became here.
type Record struct {
	Manifest v1.Descriptor `json:"manifest"`
}

// Prefix begins the names of records.
const Prefix = "pull-"

func (i *Image) record() string {
	return filepath.Join(i.p.Meta, Prefix+i.Digest.Encoded()+"-"+i.platform.Short())
}

// kept opens an image that was pulled before and is whole.
func (i *Image) kept(d digest.Digest) bool {
	var r Record
	i.Digest = d
	if !atomicfile.ReadJSON(i.record(), &r) || i.Image.Read(r.Manifest, i.platform) != nil {
		return false
	}
	for _, l := range i.Image.Manifest.Layers {
		if !(assemble.Blobs{Layout: i.Image.Layout}).Has(l.Digest, l.Size) {
			return false
		}
	}
	return true
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

// Fetch brings the image here. progress is given the bytes of all blobs, now and then.
func (i *Image) Fetch(ctx context.Context, progress func(current, total int64)) error {
	if i.Here() {
		return nil
	}
	if err := i.fetch(ctx, progress); err != nil {
		return withHint(err, i.platform)
	}
	i.exact = nil
	return nil
}

func (i *Image) fetch(ctx context.Context, progress func(current, total int64)) error {
	src, err := docker.NewReference(i.exact)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(i.p.Temp, "pull-")
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
	news := make(chan types.ProgressProperties)
	var watch sync.WaitGroup
	watch.Go(func() { sum(news, progress) })
	b, err := copy.Image(ctx, policy, dst, src, &copy.Options{RemoveSignatures: true, SourceCtx: i.sys,
		DestinationCtx:        &types.SystemContext{OCISharedBlobDirPath: filepath.Join(i.p.Blobs.Dir(), v1.ImageBlobsDir)},
		ForceManifestMIMEType: v1.MediaTypeImageManifest,
		Progress:              news, ProgressInterval: 250 * time.Millisecond})
	close(news)
	watch.Wait()
	if err != nil {
		return err
	}
	r := Record{v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}}
	if err := i.Image.Read(r.Manifest, i.platform); err != nil {
		return err
	}
	return atomicfile.WriteJSON(i.record(), r)
}

// sum adds up the bytes of all blobs.
func sum(from <-chan types.ProgressProperties, progress func(current, total int64)) {
	current, total := map[digest.Digest]int64{}, map[digest.Digest]int64{}
	for p := range from {
		current[p.Artifact.Digest], total[p.Artifact.Digest] = int64(p.Offset), p.Artifact.Size
		var c, all int64
		for d, t := range total {
			c += current[d]
			all += max(t, 0)
		}
		progress(c, all)
	}
}

// registries writes what the site says about registries in the form that package
// image reads, and nothing of this machine's own beside its credentials.
func (p *Puller) registries(pl pipelines.Platform) (*types.SystemContext, error) {
	sys := &types.SystemContext{OSChoice: pl.OS, ArchitectureChoice: pl.Architecture, VariantChoice: pl.Variant,
		SystemRegistriesConfPath:    filepath.Join(p.Temp, "registries.conf"),
		SystemRegistriesConfDirPath: filepath.Join(p.Temp, "registries.conf.d"),
		BlobInfoCacheDir:            p.Temp,
		BigFilesTemporaryDir:        p.Temp,
		DockerRegistryUserAgent:     "cfbuild",
		AuthFilePath:                p.AuthFile,
		DockerProxy:                 proxyFunc(p.Site.Proxy)}
	if len(p.Site.BuildCAs()) > 0 {
		sys.DockerCertPath = filepath.Join(p.Temp, "certs")
	}
	conf, err := registriesConf(p.Site.Registries)
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
		for i, ca := range p.Site.BuildCAs() {
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

// withHint adds advice to what registries say most often.
func withHint(err error, pl pipelines.Platform) error {
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
	case has("unauthorized", "authentication required", "denied"):
		hint = "log in with podman login or docker login, or check the name: registries answer like this for images that do not exist"
	case has("manifest unknown", "name unknown", "not found"):
		hint = "check the image's name and tag"
	case has("no image found in"):
		hint = fmt.Sprintf("the image is not offered for %s", pl)
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

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is what to do about it.
func (h *hinted) Hint() string { return h.hint }
