// Without the build tags of this module's builders there is nothing to time.

//go:build !(containers_image_openpgp && exclude_graphdriver_btrfs)

package main

import "os"

func main() { os.Exit(4) }
