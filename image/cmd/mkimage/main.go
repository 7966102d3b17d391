// Mkimage builds the kernel and initramfs of a Sealbay box.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"sealbay/image"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mkimage", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "out/image", "folder to write into")
	oldest := flags.Bool("oldest", false, "instead of a box, the oldest kernel that the probes work on, to run tests in (kernel-6.1.lock)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "mkimage: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	make := image.Make
	if *oldest {
		make = image.MakeOldest
	}
	if err := make(ctx, *out, stdout); err != nil {
		fmt.Fprintf(stderr, "mkimage: %v\n", err)
		return 1
	}
	return 0
}
