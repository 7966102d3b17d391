// Init is PID 1 of a Sealbay box and, called as modprobe, the kernel's way to
// a module that it misses.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sealbay/appliance/boot"
)

func main() { os.Exit(run(os.Args, os.Getpid(), os.Stderr)) }

func run(args []string, pid int, stderr io.Writer) int {
	if filepath.Base(args[0]) == "modprobe" {
		return boot.Modprobe(args[1:], stderr)
	}
	if pid != 1 {
		fmt.Fprintln(stderr, "init: only the kernel starts this program, as PID 1")
		return 2
	}
	if err := boot.Init(stderr); err != nil {
		fmt.Fprintf(stderr, "init: %v\n", err)
	}
	return 1 // the kernel panics with the reason above it on the console
}
