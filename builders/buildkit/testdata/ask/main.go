// Command ask asks a server and keeps the answer: a step that takes as long as a test
// wants it to.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
)

func main() {
	if err := ask(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(url, out string) error {
	fmt.Println("asking as", runtime.GOARCH)
	r, err := http.Get(url + "/" + runtime.GOARCH)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(out, b, 0o644)
}
