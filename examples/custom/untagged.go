//go:build !(containers_image_openpgp && exclude_graphdriver_btrfs)

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "custom: compile with: go build -tags containers_image_openpgp,exclude_graphdriver_btrfs")
	os.Exit(4)
}
