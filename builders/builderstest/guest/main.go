// Command guest is compiled for foreign platforms and run in images by the
// conformance tests: a static program that needs nothing.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

func main() {
	switch os.Args[1] {
	case "arch":
		fmt.Println("running on", runtime.GOARCH, "as", os.Geteuid())
		if err := os.WriteFile(os.Args[2], []byte(runtime.GOARCH+"\n"), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "again":
		// Programs start programs of their platform.
		err := syscall.Exec(os.Args[0], append([]string{"other-name"}, os.Args[2:]...), os.Environ())
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case "exit":
		n, err := strconv.Atoi(os.Args[2])
		if err != nil {
			panic(err)
		}
		os.Exit(n)
	}
}
