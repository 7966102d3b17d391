// Command sealbayd is the daemon of a Sealbay node: it opens the encrypted
// drives and serves the control interface that qq talks to.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"sealbay/appliance"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, once, err := appliance.ParseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	n, err := appliance.New(cfg)
	if err == nil {
		if once {
			err = n.Once(ctx, stdout)
		} else {
			err = n.Run(ctx)
		}
		err = errors.Join(err, n.Close())
	}
	if err != nil {
		fmt.Fprintf(stderr, "sealbayd: %v\n", err)
		return 1
	}
	return 0
}
