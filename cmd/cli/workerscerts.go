package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/cmd/cli/certs"
	"github.com/spf13/cobra"
)

func (p *program) workersCertsCommand() *cobra.Command {
	var hosts, clients []string
	var days int
	var force bool
	name := p.app.name()
	cmd := &cobra.Command{
		Use:   "certs DIR",
		Short: "make the certificates with which workers and clients know each other",
		Long: "Makes an authority in DIR/authority, a certificate for each --host in DIR/servers/NAME and\n" +
			"for each --client in DIR/clients/NAME, with the files ca.pem, cert.pem and key.pem that\n" +
			"buildkitd and an address's ?certs=DIR take. Later runs use the authority that is there.\n\n" +
			"DIR/authority/ca-key.pem makes new clients: keep it off the workers and off CI.",
		Example: fmt.Sprintf("  %[1]s workers certs certs --host build1.example.org,10.0.0.5 --host build2.example.org --client ci --client ann\n"+
			"  %[1]s workers certs certs --client bob", name),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd.CommandPath()+" --help", "%s: takes one directory, not %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if days <= 0 {
				return usagef("", "--days \"%d\": is not a number of days", days)
			}
			if len(hosts)+len(clients) == 0 {
				return usagef("name a server with --host NAME[,NAME|IP…], a client with --client NAME", "%s: nothing to make", cmd.CommandPath())
			}
			r := certs.Request{Dir: p.env.path(args[0]), Clients: clients, Now: p.env.Now(), Good: time.Duration(days) * 24 * time.Hour, Force: force}
			for _, h := range hosts {
				r.Hosts = append(r.Hosts, strings.Split(h, ","))
			}
			if err := r.Check(); err != nil {
				return &usageError{err: err}
			}
			made, err := certs.Make(cmd.Context(), r)
			if e := p.showCerts(made); err == nil {
				err = e
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&hosts, "host", nil, "`NAME,…` names and IP addresses of one server; again for the next")
	fl.StringArrayVar(&clients, "client", nil, "`NAME` of a client; again for the next")
	fl.IntVar(&days, "days", 365, "how long they are good")
	fl.BoolVar(&force, "force", false, "replace certificates that are there, not the authority")
	return cmd
}

func (p *program) showCerts(made []certs.Made) error {
	out := &strings.Builder{}
	client := "DIR"
	for _, m := range made {
		if m.Kind == "client" {
			client = p.env.shown(m.Dir)
		}
	}
	for _, m := range made {
		where, until := p.env.shown(m.Dir), m.Until.UTC().Format(time.DateOnly)
		switch m.Kind {
		case "authority":
			did := "made"
			if m.Kept {
				did = "kept"
			}
			fmt.Fprintf(out, "%s authority, good until %s: %s\n", did, until, where)
			fmt.Fprintf(out, "  %s makes new clients: keep it off the workers and off CI\n", filepath.Join(where, "ca-key.pem"))
		case "server":
			fmt.Fprintf(out, "made server %s, good until %s: %s\n", strings.Join(m.Hosts, ", "), until, where)
			fmt.Fprintf(out, "  on the worker: buildkitd --addr tcp://0.0.0.0:1234 --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem\n")
			fmt.Fprintf(out, "  to use it:     --builder 'buildkit:tcp://%s:1234?certs=%s'\n", bracketed(m.Name), client)
		case "client":
			fmt.Fprintf(out, "made client %s, good until %s: %s\n", m.Name, until, where)
		}
	}
	_, err := p.env.Stdout.Write([]byte(out.String()))
	return err
}

// bracketed is a host as URLs have it, RFC 3986 section 3.2.2.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
