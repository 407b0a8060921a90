package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/cfbuild/cfbuild/cmd/cli/progress"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers/gitlab"
	"github.com/spf13/cobra"
)

// packagesFlags say which project's package registry is meant, and who asks.
type packagesFlags struct {
	api, project, token string
}

func (p *program) packagesCommand() *cobra.Command {
	name := p.app.name()
	cmd := &cobra.Command{
		Use:   "packages",
		Short: "publish files to GitLab's package registry, and remove old versions",
		Long: "Works on the generic packages of a GitLab project. In a GitLab job the project and the token are\n" +
			"the job's own; elsewhere --api and --project name it, and GITLAB_TOKEN holds a token.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return p.unknown("packages command", args[0], []string{"push", "prune"}, name+" packages --help lists the commands")
		},
	}
	cmd.AddCommand(p.packagesPushCommand(), p.packagesPruneCommand())
	return cmd
}

func (f *packagesFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.api, "api", "", "`URL` of the API, https://HOST/api/v4 (default $CI_API_V4_URL)")
	fl.StringVar(&f.project, "project", "", "`ID|PATH` of the project (default $CI_PROJECT_ID)")
	fl.StringVar(&f.token, "token", "", "`KIND=VARIABLE` that holds the token, KIND being private, job or deploy\n"+
		"(default private=GITLAB_TOKEN, else job=CI_JOB_TOKEN, else deploy=CI_DEPLOY_PASSWORD)")
}

// tokenKinds are the headers of the kinds of --token.
var tokenKinds = map[string]string{"private": gitlab.PrivateToken, "job": gitlab.JobToken, "deploy": gitlab.DeployToken}

// packages gives the options of a project, without a package.
func (p *program) packages(f packagesFlags) (gitlab.Options, error) {
	get := p.env.Getenv
	o := gitlab.Options{API: f.api, Project: f.project}
	if o.API == "" {
		o.API = get("CI_API_V4_URL")
	}
	if o.Project == "" {
		o.Project = get("CI_PROJECT_ID")
	}
	switch {
	case o.API == "":
		return o, usagef("name it with --api https://HOST/api/v4; in a GitLab job CI_API_V4_URL does", "packages: no GitLab is named")
	case o.Project == "":
		return o, usagef("name it with --project ID or --project GROUP/NAME; in a GitLab job CI_PROJECT_ID does", "packages: no project is named")
	}
	specs := []string{f.token}
	if f.token == "" {
		specs = []string{"private=GITLAB_TOKEN", "job=CI_JOB_TOKEN", "deploy=CI_DEPLOY_PASSWORD"}
	}
	for _, s := range specs {
		kind, variable, ok := strings.Cut(s, "=")
		header := tokenKinds[kind]
		if !ok || header == "" || variable == "" { // not shown: it may be the token
			return o, usagef("write it as --token private=VARIABLE, job=VARIABLE or deploy=VARIABLE; the token itself stays off the command line",
				"--token: is not KIND=VARIABLE")
		}
		if v := get(variable); v != "" {
			o.Token = gitlab.Token{Header: header, Value: v, From: variable}
			break
		}
		if f.token != "" {
			return o, usagef("", "--token %s: variable %s is not set", kind, variable)
		}
	}
	if o.Token.Value == "" {
		return o, usagef("set GITLAB_TOKEN to a personal or project token with the scope api, or name another variable with --token; a GitLab job has CI_JOB_TOKEN",
			"packages: there is no token")
	}
	var err error
	o.Site, err = p.loadSite()
	return o, err
}

func (p *program) packagesPushCommand() *cobra.Command {
	var f packagesFlags
	var pkg, version string
	var maxSize int64
	var asJSON bool
	var conflict, show *choice
	cmd := &cobra.Command{
		Use:   "push FILE…",
		Short: "publish files as one version of a package",
		Long: "Publishes files to a version of a generic package, with SHA256SUMS over everything in it. A file\n" +
			"that is there already is not sent again. A new version is hidden until all its files are there.\n\n" +
			"Exit codes:\n" + ExitCodes,
		Example: fmt.Sprintf("  %s packages push out/debian12-amd64.sif out/debian12-arm64.sif --package debian12 --version 1.2.0", p.app.name()),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(cmd.CommandPath()+" --help", "%s: names no file", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if pkg == "" || version == "" {
				return usagef("give both", "%s: --package and --version are needed", cmd.CommandPath())
			}
			o, err := p.packages(f)
			if err != nil {
				return err
			}
			o.Package, o.Version, o.Policy, o.MaxSize = pkg, version, gitlab.Policy(conflict.value), maxSize
			var files []gitlab.File
			for _, a := range args {
				files = append(files, gitlab.File{Name: filepath.Base(a), Path: p.env.path(a)})
			}
			var r gitlab.Receipt
			err = p.showing(cmd.Context(), show.value, func(sink pipelines.Sink) error {
				o.Events = sink
				r, err = gitlab.Publish(cmd.Context(), files, o)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(p.env.Stdout, packagesReceipt{1, r.Package, r.Version, r.URL, r.Files, r.Sent})
			}
			w := tabwriter.NewWriter(p.env.Stdout, 0, 0, 2, ' ', 0)
			for _, s := range r.Files {
				how := "unchanged"
				if s.Sent {
					how = "sent"
				}
				fmt.Fprintf(w, "%s\t%s\tsha256:%s\t%s\n", s.Name, progress.Bytes(s.Size), s.SHA256, how)
			}
			fmt.Fprintf(w, "%s\n", r.URL)
			return w.Flush()
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&pkg, "package", "", "`NAME` of the package")
	fl.StringVar(&version, "version", "", "`VERSION` of the package")
	conflict = conflictFlag(cmd)
	fl.Int64Var(&maxSize, "max-size", 0, "`BYTES` that GitLab takes of one file (default 5 GiB)")
	show = choiceFlag(cmd, "progress", "how to show what happens", "auto", "tty", "plain", "json")
	fl.BoolVar(&asJSON, "json", false, "print what is there now as JSON")
	return cmd
}

func conflictFlag(cmd *cobra.Command) *choice {
	return choiceFlag(cmd, "on-conflict", "what to do where GitLab's package has another file of that name",
		string(gitlab.Refuse), string(gitlab.Replace), string(gitlab.Add))
}

// packagesReceipt is the JSON document of packages push --json.
type packagesReceipt struct {
	Version int             `json:"version"` // of this form, 1
	Package string          `json:"package"`
	Release string          `json:"package_version"`
	URL     string          `json:"url"`
	Files   []gitlab.Stored `json:"files"`
	Sent    int64           `json:"sent_bytes"`
}
