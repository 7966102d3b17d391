// Vmrun runs a Go test binary inside the appliance's kernel in QEMU:
//
//	go test -tags vm -exec "$PWD/out/bin/vmrun" -run '^TestVM' ./blockcrypt
//
// The binary, its package's testdata and the programs named by -pack go into a
// second initramfs behind the image's. The machine has three blank drives of
// 256 MiB, virtio-blk, NVMe and AHCI, and no network. Output streams, the exit
// code is the test's.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("vmrun", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.image, "image", "", "folder of the image (default out/image of this checkout)")
	flags.DurationVar(&o.limit, "limit", 8*time.Minute, "how long the machine may run")
	pack := flags.String("pack", "", "host programs the test needs, comma-separated")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() == 0 {
		fmt.Fprintln(stderr, "usage: vmrun [flags] TEST-BINARY [test flags]")
		return 2
	}
	o.pack = strings.FieldsFunc(*pack, func(r rune) bool { return r == ',' })
	o.test, o.args = flags.Arg(0), flags.Args()[1:]
	code, err := runTest(ctx, o, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "vmrun: %v\n", err)
		return 1
	}
	return code
}
