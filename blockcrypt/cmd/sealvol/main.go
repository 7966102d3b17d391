// Sealvol makes, opens and mends encrypted volumes on drives and files that
// no node has in use.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"sealbay/blockcrypt/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
