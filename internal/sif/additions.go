package sif

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/internal/squashfs"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Names of the data objects that Apptainer looks for.
const (
	inspectName = "inspect-metadata.json"
	configName  = "oci-config.json"
)

// meta is where Apptainer keeps what describes an image, in it.
const meta = ".singularity.d"

// file is an entry of ours.
type file struct {
	squashfs.Entry
	data string
	keep bool // what the image has at the path stays
}

// additions are what a SIF has besides the image.
type additions struct {
	definition, inspect, config string
	files                       []file // sorted by path
	byPath                      map[string]file
}

// added makes all that depends on the image's configuration, and on whether it has a
// shell.
func added(c v1.Image, d v1.Descriptor, o Options, shell bool) (*additions, error) {
	a := &additions{definition: definition(d, o.Name)}
	config, err := json.Marshal(c.Config)
	if err != nil {
		return nil, err
	}
	a.config = string(config)

	labels := allLabels(c, d, o)
	labelJSON, err := json.MarshalIndent(labels, "", "\t")
	if err != nil {
		return nil, err
	}
	env := environment(c.Config.Env)
	scripts := map[string]string{
		"runscript":                    runscript(c.Config.Entrypoint, c.Config.Cmd, shell),
		"startscript":                  startscript,
		"actions/exec":                 actionExec,
		"actions/run":                  actionRun,
		"actions/shell":                actionShell,
		"actions/start":                actionStart,
		"actions/test":                 actionTest,
		"env/01-base.sh":               "#!/bin/sh\n",
		"env/10-docker2singularity.sh": env,
		"env/90-environment.sh":        environmentHere,
		"env/94-appsbase.sh":           "",
		"env/95-apps.sh":               "#!/bin/sh\n",
		"env/99-base.sh":               envLibs,
		"env/99-runtimevars.sh":        envPath,
	}
	attributes := map[string]any{
		"environment": map[string]string{
			"/" + meta + "/env/10-docker2singularity.sh": strings.TrimSpace(env),
			"/" + meta + "/env/90-environment.sh":        strings.TrimSpace(environmentHere),
		},
		"labels": labels, "deffile": strings.TrimSpace(a.definition),
		"runscript": strings.TrimSpace(scripts["runscript"]), "startscript": strings.TrimSpace(startscript),
	}
	if o.Test != "" {
		scripts["test"] = o.Test
		attributes["test"] = strings.TrimSpace(o.Test)
	}
	plain := map[string]string{"labels.json": string(labelJSON), "Singularity": a.definition}
	if o.Help != "" {
		plain["runscript.help"] = o.Help
		attributes["helpfile"] = strings.TrimSpace(o.Help)
	}
	inspect, err := json.Marshal(map[string]any{"type": "container", "data": map[string]any{"attributes": attributes}})
	if err != nil {
		return nil, err
	}
	a.inspect = string(inspect)

	put := func(path string, mode fs.FileMode, data, target string, keep bool) {
		a.files = append(a.files, file{squashfs.Entry{Path: path, Mode: mode, Size: int64(len(data)), Target: target, ModTime: o.Epoch}, data, keep})
	}
	for _, dir := range []string{meta, meta + "/actions", meta + "/env", meta + "/libs", "dev", "etc", "home", "proc", "root", "sys", "tmp", "var", "var/tmp"} {
		put(dir, fs.ModeDir|0o755, "", "", true)
	}
	for name, s := range scripts {
		put(meta+"/"+name, 0o755, s, "", false)
	}
	for name, s := range plain {
		put(meta+"/"+name, 0o644, s, "", false)
	}
	// Apptainer mounts the host's over them, and empties what an image has.
	put("etc/hosts", 0o644, "", "", false)
	put("etc/resolv.conf", 0o644, "", "", false)
	for name, to := range map[string]string{".exec": "actions/exec", ".run": "actions/run", ".shell": "actions/shell", ".test": "actions/test",
		"environment": "env/90-environment.sh", "singularity": "runscript"} {
		put(name, fs.ModeSymlink|0o777, "", meta+"/"+to, true)
	}
	slices.SortFunc(a.files, func(x, y file) int { return strings.Compare(x.Path, y.Path) })
	a.byPath = map[string]file{}
	for _, f := range a.files {
		a.byPath["/"+f.Path] = f
	}
	return a, nil
}

// replaces says whether one of ours takes the place of an entry of the image. Only
// files are replaced: a link such as that of resolv.conf stays.
func (a *additions) replaces(e *rootfs.Entry) bool {
	f, ok := a.byPath[e.Path]
	return ok && !f.keep && (e.Type == rootfs.File || strings.HasPrefix(f.Path, meta+"/") && e.Type != rootfs.Dir)
}

// missing are those of ours that the image lacks or that replace what it has.
func (a *additions) missing(img *rootfs.FS) []file {
	var out []file
	for _, f := range a.files {
		if e, ok := img.Lookup("/" + f.Path); ok && !a.replaces(e) || !reachable(img, f.Path) {
			continue
		}
		out = append(out, f)
	}
	return out
}

// reachable: all above a path are directories, or not there. An image may have /etc
// or /tmp as a link.
func reachable(img *rootfs.FS, path string) bool {
	for i, c := range path {
		if c != '/' {
			continue
		}
		if e, ok := img.Lookup("/" + path[:i]); ok && e.Type != rootfs.Dir {
			return false
		}
	}
	return true
}

// definition is a definition file that names where the SIF came from. Plain Apptainer
// builds from the same image with it when the name can be pulled.
func definition(d v1.Descriptor, name string) string {
	from := d.Digest.String()
	if name != "" {
		from = strings.Map(func(r rune) rune {
			if r < ' ' {
				return -1
			}
			return r
		}, name) + "@" + from
	}
	return "bootstrap: docker\nfrom: " + from + "\n"
}

// allLabels are the image's and those that Apptainer adds (label-schema.org).
func allLabels(c v1.Image, d v1.Descriptor, o Options) map[string]string {
	labels := map[string]string{
		"org.label-schema.schema-version":                      "1.0",
		"org.label-schema.build-arch":                          c.Architecture,
		"org.label-schema.build-date":                          strings.ReplaceAll(o.Epoch.Format("Monday 2 January 2006 15:04:05 MST"), " ", "_"),
		"org.label-schema.usage.singularity.deffile.bootstrap": "docker",
		"org.label-schema.usage.singularity.deffile.from":      strings.TrimSpace(strings.SplitN(definition(d, o.Name), "from: ", 2)[1]),
	}
	maps.Copy(labels, c.Config.Labels)
	return labels
}

// quote writes a word for the shell. Apptainer's own shell, which reads the environment
// files, takes \' outside quotes for two characters.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'" }

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// environment sets the image's variables. The caller's win, except for PATH, as with
// Apptainer. Names that no shell takes are left out; a later entry of a name wins.
func environment(env []string) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	last := map[string]int{}
	for i, v := range env {
		name, _, _ := strings.Cut(v, "=")
		last[name] = i
	}
	for i, v := range env {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case !variable.MatchString(name) || last[name] != i:
		case name == "PATH":
			fmt.Fprintf(&b, "export PATH=%s\n", quote(value))
		default:
			fmt.Fprintf(&b, "if [ -z \"${%s:-}\" ]; then %s=%s; fi\nexport %s\n", name, name, quote(value), name)
		}
	}
	return b.String()
}
