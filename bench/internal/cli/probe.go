package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
	"sealbay/bench/probe/livecmd"
)

const probeLong = `Show how long requests wait for the driver (queue) and how long the driver and
the device take (device), of any block device, whoever uses it: a table and
histograms, redrawn until Ctrl-C; lines where there is no terminal. Needs root.
Nothing is written and no I/O is changed.`

const probeExample = `  sealbench probe --device /dev/nvme0n1
  sealbench probe --device /var/lib --duration 30s --json latency.json
  sealbench probe --device /dev/sda --json - | jq .rows`

func probeCommand() *cobra.Command {
	var o livecmd.Options
	c := &cobra.Command{
		Use: "probe", Short: "Live latency histogram by stage of any block device, until Ctrl-C",
		Long: probeLong, Example: probeExample, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return errors.Join(errUsage, err)
			}
			return livecmd.Watch(c.Context(), o, c.OutOrStdout())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVar(&o.Device, "device", "", "disk or partition, or a file: the device that holds it")
	fl.DurationVar(&o.Duration, "duration", 0, "end after this time, such as 30s (default: at Ctrl-C)")
	fl.DurationVar(&o.Interval, "interval", time.Second, "time between two displays")
	fl.StringVar(&o.JSON, "json", "", "write what was counted to this file at the end; -: a line of JSON per interval on standard output, in place of the display")
	return c
}
