package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func request(dir string) Request {
	return Request{Dir: dir, Hosts: [][]string{{"localhost", "127.0.0.1"}}, Clients: []string{"ci"}, Now: now, Good: 24 * time.Hour}
}

// talk makes a mutual handshake from the directories, at a time.
func talk(t *testing.T, server, client string, at time.Time) error {
	t.Helper()
	config := func(dir string) *tls.Config {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(ca)
		return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
			ServerName: "localhost", Time: func() time.Time { return at }}
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config(server))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	result := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = c.(*tls.Conn).Handshake()
			c.Close()
		}
		result <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), config(client))
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
		if err.Error() == "EOF" {
			err = nil
		}
	}
	return errors.Join(err, <-result)
}

func TestMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	made, err := Make(t.Context(), request(dir))
	if err != nil || len(made) != 3 || made[0].Kept || !made[1].Until.Equal(now.Add(24*time.Hour)) {
		t.Fatalf("%+v %v", made, err)
	}
	server, client := filepath.Join(dir, "servers/localhost"), filepath.Join(dir, "clients/ci")
	if err := talk(t, server, client, now); err != nil {
		t.Error(err)
	}
	if err := talk(t, client, client, now); err == nil {
		t.Error("a client's certificate serves")
	}
	if err := talk(t, server, server, now); err == nil {
		t.Error("a server's certificate is a client's")
	}
	if err := talk(t, server, client, now.Add(25*time.Hour)); err == nil {
		t.Error("good after its time")
	}
	other := filepath.Join(t.TempDir(), "other")
	if _, err := Make(t.Context(), request(other)); err != nil {
		t.Fatal(err)
	}
	if err := talk(t, server, filepath.Join(other, "clients/ci"), now); err == nil {
		t.Error("another authority's client is let in")
	}

	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		key := strings.HasSuffix(path, "key.pem")
		if mode := info.Mode().Perm(); (key || d.IsDir()) && mode&0o077 != 0 {
			t.Errorf("%s has mode %o", path, mode)
		}
		if strings.Contains(d.Name(), "new-") || d.Name() == "ca-key.pem" && filepath.Dir(path) != filepath.Join(dir, "authority") {
			t.Errorf("%s is there", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAgain(t *testing.T) {
	dir := t.TempDir()
	r := request(dir)
	if _, err := Make(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	var there *ExistsError
	if _, err := Make(t.Context(), r); !errors.As(err, &there) {
		t.Fatalf("%v", err)
	}
	// What a killed run left, and a renewal: the old server still takes the new client.
	if err := os.MkdirAll(filepath.Join(dir, ".new-1234"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(t.Context(), Request{Dir: dir, Clients: []string{"ci"}, Now: now, Good: time.Hour, Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := talk(t, filepath.Join(dir, "servers/localhost"), filepath.Join(dir, "clients/ci"), now); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
	// Without its key the authority makes nothing, and is not replaced.
	if err := os.Remove(filepath.Join(dir, "authority", "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	_, err := Make(t.Context(), Request{Dir: dir, Clients: []string{"new"}, Now: now, Good: time.Hour})
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "put it back") {
		t.Errorf("%v", err)
	}
}

func TestAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for _, c := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			if _, err := Make(t.Context(), Request{Dir: dir, Hosts: [][]string{{c + ".example.org", "localhost"}}, Clients: []string{c}, Now: now, Good: time.Hour}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := talk(t, filepath.Join(dir, "servers/a.example.org"), filepath.Join(dir, "clients/d"), now); err != nil {
		t.Errorf("two authorities were made: %v", err)
	}
}

func TestCheck(t *testing.T) {
	for want, r := range map[string]Request{
		"given twice":     {Hosts: [][]string{{"a"}, {"a", "b"}}},
		"client a: is":    {Clients: []string{"a", "a"}},
		"neither a host":  {Hosts: [][]string{{"a", ""}}},
		"use letters":     {Clients: []string{".."}},
		`client "a/b": u`: {Clients: []string{"a/b"}},
	} {
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
}
