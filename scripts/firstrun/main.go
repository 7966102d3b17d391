// Firstrun is `make run`: it boots a box in QEMU with a boot drive and three
// blank data drives, lets it make its keys, encrypt the drives and measure
// what that costs, and brings the result back.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("firstrun", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.image, "image", "out/image", "folder of the image")
	flags.StringVar(&o.out, "out", "out/run", "folder for drives, console.log and result.json")
	flags.StringVar(&o.job, "job", "firstrun", "job of the image to run")
	flags.DurationVar(&o.limit, "limit", 15*time.Minute, "how long the machine may run")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "firstrun: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	if err := firstRun(ctx, o, stdout); err != nil {
		fmt.Fprintf(stderr, "run: FAILED: %v\n", err)
		return 1
	}
	return 0
}
