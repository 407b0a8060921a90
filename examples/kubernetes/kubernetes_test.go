// Package kubernetes_test renders the manifests as kubectl apply -k does, reads them
// strictly as the API's types, and starts the real buildkitd with what they say.
package kubernetes_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders/buildkit/connect"
	"github.com/cfbuild/cfbuild/builders/buildkit/pool"
	"github.com/cfbuild/cfbuild/cmd/cli/certs"
	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/certtest"
	"github.com/cfbuild/cfbuild/internal/daemontest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// readme gives the values that the README tells to use.
func readme(t *testing.T) (hosts [][]string, workers string, text string) {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`--host '([^']+)'`).FindAllStringSubmatch(string(b), -1) {
		hosts = append(hosts, strings.Split(m[1], ","))
	}
	list := regexp.MustCompile(`CFBUILD_WORKERS='([^']+)'`).FindStringSubmatch(string(b))
	if len(hosts) != 2 || list == nil {
		t.Fatalf("README names hosts %v and workers %v", hosts, list)
	}
	return hosts, list[1], string(b)
}

// pool is what is rendered.
type rendered struct {
	sets       map[string]apps.StatefulSet
	services   map[string]core.Service
	policies   map[string]networking.NetworkPolicy
	budgets    map[string]policy.PodDisruptionBudget
	configs    map[string]core.ConfigMap
	secrets    map[string]core.Secret
	namespaces map[string]core.Namespace
	certs      string // the directory that cfbuild workers certs made
}

func render(t *testing.T) rendered {
	t.Helper()
	dir := daemontest.Dir(t)
	if out, err := exec.Command("cp", "-r", "kustomization.yaml", "namespace.yaml", "base", "overlays", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r := rendered{map[string]apps.StatefulSet{}, map[string]core.Service{}, map[string]networking.NetworkPolicy{}, map[string]policy.PodDisruptionBudget{},
		map[string]core.ConfigMap{}, map[string]core.Secret{}, map[string]core.Namespace{}, filepath.Join(dir, "certs")}
	k := krusty.MakeKustomizer(krusty.MakeDefaultOptions())
	if _, err := k.Run(filesys.MakeFsOnDisk(), dir); err == nil || !strings.Contains(err.Error(), "certs/") {
		t.Errorf("without certificates: %v", err)
	}
	hosts, _, _ := readme(t)
	if _, err := certs.Make(t.Context(), certs.Request{Dir: r.certs, Hosts: hosts, Clients: []string{"ci"}, Now: time.Now(), Good: time.Hour}); err != nil {
		t.Fatal(err)
	}
	all, err := k.Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, res := range all.Resources() {
		b, err := res.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		name := res.GetName()
		if res.GetKind() != "Namespace" && res.GetNamespace() != "cfbuild" {
			t.Errorf("%s %s is in namespace %q", res.GetKind(), name, res.GetNamespace())
		}
		switch res.GetKind() {
		case "StatefulSet":
			keep(t, r.sets, name, b)
		case "Service":
			keep(t, r.services, name, b)
		case "NetworkPolicy":
			keep(t, r.policies, name, b)
		case "PodDisruptionBudget":
			keep(t, r.budgets, name, b)
		case "ConfigMap":
			keep(t, r.configs, name, b)
		case "Secret":
			keep(t, r.secrets, name, b)
		case "Namespace":
			keep(t, r.namespaces, name, b)
		default:
			t.Errorf("a %s that this test does not know", res.GetKind())
		}
	}
	return r
}

// keep reads strictly: a field that the API lacks is an error.
func keep[T any](t *testing.T, to map[string]T, name string, b []byte) {
	t.Helper()
	var v T
	if err := yaml.UnmarshalStrict(b, &v); err != nil {
		t.Errorf("%s: %v\n%s", name, err, b)
	}
	to[name] = v
}

func subset(part, of map[string]string) bool {
	for k, v := range part {
		if of[k] != v {
			return false
		}
	}
	return len(part) > 0
}

func TestManifests(t *testing.T) {
	r := render(t)
	if got := slices.Sorted(maps.Keys(r.sets)); !slices.Equal(got, []string{"buildkitd-amd64", "buildkitd-arm64"}) {
		t.Fatalf("sets %v", got)
	}
	if len(r.namespaces) != 1 || len(r.services) != 2 || len(r.policies) != 2 || len(r.budgets) != 2 {
		t.Errorf("%d namespaces, %d services, %d policies, %d budgets", len(r.namespaces), len(r.services), len(r.policies), len(r.budgets))
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`github.com/moby/buildkit (v\S+)`).FindSubmatch(mod)[1]
	for name, s := range r.sets {
		arch := strings.TrimPrefix(name, "buildkitd-")
		pod, labels := s.Spec.Template.Spec, s.Spec.Template.Labels
		if pod.NodeSelector[core.LabelArchStable] != arch || !subset(s.Spec.Selector.MatchLabels, labels) || labels["app.kubernetes.io/instance"] != arch {
			t.Errorf("%s: selectors %v %v, labels %v", name, pod.NodeSelector, s.Spec.Selector.MatchLabels, labels)
		}
		c := pod.Containers[0]
		if c.Image != "docker.io/moby/buildkit:"+string(version)+"-rootless" {
			t.Errorf("%s: image %s, and the client is %s", name, c.Image, version)
		}
		if sc := c.SecurityContext; *sc.RunAsUser != 1000 || *sc.Privileged || *sc.RunAsNonRoot != true || sc.SeccompProfile.Type != core.SeccompProfileTypeUnconfined {
			t.Errorf("%s: %+v", name, sc)
		}
		for what, p := range map[string]*core.Probe{"startup": c.StartupProbe, "readiness": c.ReadinessProbe, "liveness": c.LivenessProbe} {
			if p == nil || p.Exec == nil || !slices.Contains(c.Args, p.Exec.Command[2]) || strings.Join(p.Exec.Command[3:], " ") != "debug workers" {
				t.Errorf("%s: %s probe %+v", name, what, p)
			}
		}

		// What is mounted exists, with the files that the arguments name.
		files := map[string]bool{}
		mounts := map[string]string{}
		for _, m := range c.VolumeMounts {
			mounts[m.Name] = m.MountPath
		}
		for _, v := range pod.Volumes {
			switch {
			case v.ConfigMap != nil:
				cm, ok := r.configs[v.ConfigMap.Name]
				if !ok {
					t.Errorf("%s: no ConfigMap %s", name, v.ConfigMap.Name)
				}
				for k := range cm.Data {
					files[filepath.Join(mounts[v.Name], k)] = true
				}
			case v.Secret != nil:
				s, ok := r.secrets[v.Secret.SecretName]
				if !ok || !strings.HasPrefix(v.Secret.SecretName, "buildkitd-certs-"+arch) {
					t.Errorf("%s: Secret %s", name, v.Secret.SecretName)
				}
				if *v.Secret.DefaultMode != 0o440 || *pod.SecurityContext.FSGroup != *c.SecurityContext.RunAsGroup {
					t.Errorf("%s: the daemon cannot read its key, or others can", name)
				}
				for k := range s.Data {
					files[filepath.Join(mounts[v.Name], k)] = true
				}
			default:
				t.Errorf("%s: volume %s of another kind", name, v.Name)
			}
			if mounts[v.Name] == "" {
				t.Errorf("%s: volume %s is not mounted", name, v.Name)
			}
		}
		for _, a := range c.Args {
			if strings.HasPrefix(a, "/") && !files[a] {
				t.Errorf("%s: nothing is at %s; there are %v", name, a, files)
			}
		}
		if len(s.Spec.VolumeClaimTemplates) != 1 || mounts[s.Spec.VolumeClaimTemplates[0].Name] != "/home/user/.local/share/buildkit" {
			t.Errorf("%s: claims %v", name, s.Spec.VolumeClaimTemplates)
		}

		// The service, the policy and the budget are this pool's and not the other's.
		svc, np, pdb := r.services[s.Spec.ServiceName], r.policies[name], r.budgets[name]
		other := map[string]string{"app.kubernetes.io/name": "buildkitd", "app.kubernetes.io/instance": "other"}
		for what, sel := range map[string]map[string]string{"service": svc.Spec.Selector, "policy": np.Spec.PodSelector.MatchLabels, "budget": pdb.Spec.Selector.MatchLabels} {
			if !subset(sel, labels) || subset(sel, other) {
				t.Errorf("%s: the %s selects %v", name, what, sel)
			}
		}
		if svc.Spec.ClusterIP != core.ClusterIPNone || svc.Spec.Ports[0].TargetPort.String() != c.Ports[0].Name || svc.Spec.Ports[0].Port != c.Ports[0].ContainerPort {
			t.Errorf("%s: service %+v", name, svc.Spec)
		}
		in := np.Spec.Ingress
		if len(in) != 1 || len(in[0].From) != 1 || in[0].From[0].NamespaceSelector == nil || len(in[0].From[0].NamespaceSelector.MatchLabels) != 1 || len(in[0].Ports) != 1 || in[0].Ports[0].Port.String() != c.Ports[0].Name {
			t.Errorf("%s: ingress %+v", name, in)
		}
	}
}

// The list of workers in the README names every pod, by names in its certificate.
func TestReadme(t *testing.T) {
	r := render(t)
	_, list, text := readme(t)
	workers, err := pool.Parse(list, func(a string) error { _, err := connect.Parse(a); return err })
	if err != nil {
		t.Fatal(err)
	}
	pods := map[string]string{}
	for name, s := range r.sets {
		for i := range *s.Spec.Replicas {
			pods[fmt.Sprintf("%s-%d.%s.cfbuild.svc:%d", name, i, s.Spec.ServiceName, s.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort)] = strings.TrimPrefix(name, "buildkitd-")
		}
	}
	for _, w := range workers {
		a, _ := connect.Parse(w.Address)
		arch, ok := pods[a.Host]
		if !ok || len(w.Platforms) != 1 || w.Platforms[0].Architecture != arch {
			t.Errorf("%s is no pod of ours; there are %v", w, pods)
			continue
		}
		delete(pods, a.Host)
		host, _, _ := net.SplitHostPort(a.Host)
		cert := r.secret(t, "buildkitd-certs-"+arch, "cert.pem")
		block, _ := pem.Decode(cert)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []string{host, host + ".cluster.local"} {
			if err := c.VerifyHostname(h); err != nil {
				t.Error(err)
			}
		}
	}
	if len(pods) > 0 {
		t.Errorf("not in the list: %v", pods)
	}
	np := r.policies["buildkitd-amd64"]
	for k, v := range np.Spec.Ingress[0].From[0].NamespaceSelector.MatchLabels {
		if !strings.Contains(text, k+"="+v) {
			t.Errorf("the README does not say that clients' namespaces need %s=%s", k, v)
		}
	}
}

func (r rendered) secret(t *testing.T, prefix, key string) []byte {
	t.Helper()
	for name, s := range r.secrets {
		if strings.HasPrefix(name, prefix) {
			return s.Data[key]
		}
	}
	t.Fatalf("no secret %s", prefix)
	return nil
}

// The real daemon takes the configuration and the arguments, with the paths of this
// machine in place of the container's, and a client connects by a pod's name.
func TestRealDaemon(t *testing.T) {
	r := render(t)
	account := testneed.User(t)
	dir := daemontest.Dir(t)
	server := filepath.Join(dir, "certs")
	if err := os.Mkdir(server, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"ca.pem", "cert.pem", "key.pem"} {
		path := filepath.Join(server, f)
		if err := os.WriteFile(path, r.secret(t, "buildkitd-certs-amd64", f), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, account.UID, account.GID); err != nil {
			t.Fatal(err)
		}
	}
	set := r.sets["buildkitd-amd64"]
	var config string
	for _, c := range r.configs {
		config = c.Data["buildkitd.toml"]
	}
	port := strconv.Itoa(certtest.FreePort(t))
	var args []string
	given := set.Spec.Template.Spec.Containers[0].Args
	for i := 0; i < len(given); i += 2 {
		k, v := given[i], given[i+1]
		switch {
		case k == "--config", strings.HasPrefix(v, "unix://"): // the test's daemon has its own place for these
			continue
		case strings.HasPrefix(v, "tcp://"):
			v = "tcp://127.0.0.1:" + port
		case strings.HasPrefix(v, "/certs/"):
			v = filepath.Join(server, strings.TrimPrefix(v, "/certs/"))
		}
		args = append(args, k, v)
	}
	buildkitdtest.Start(t, buildkitdtest.Options{Rootless: true, Config: config, Args: args})
	a, err := connect.Parse("tcp://127.0.0.1:" + port + "?certs=" + filepath.Join(r.certs, "clients", "ci") + "&servername=buildkitd-amd64-1.buildkitd-amd64.cfbuild.svc")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Dial(t.Context(), connect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ws, err := c.ListWorkers(t.Context())
	if err != nil || len(ws) != 1 {
		t.Fatalf("%v %v", ws, err)
	}
	if got := ws[0].Labels["org.mobyproject.buildkit.worker.oci.process-mode"]; got != "no-sandbox" {
		t.Errorf("process mode %q", got)
	}
	if g := ws[0].GCPolicy; len(g) != 1 || !g[0].All || g[0].MaxUsedSpace == 0 || g[0].MinFreeSpace == 0 {
		t.Errorf("policies %+v", g)
	}
}
