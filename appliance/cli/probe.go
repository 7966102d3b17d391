package cli

import (
	"github.com/spf13/cobra"

	"sealbay/appliance/rest"
)

func (a *app) probeCommands() []*cobra.Command {
	start := a.onDevice("probe_start", "Start to count how long requests to a block device take, by stage", "`path` of any block device, such as /dev/sda", "/v1/probe/start")
	run := start.RunE
	start.RunE = func(cmd *cobra.Command, args []string) error {
		if err := require(cmd, "device"); err != nil {
			return err
		}
		return run(cmd, args)
	}
	return []*cobra.Command{
		start,
		a.get("probe_status", "Show what the probes have counted so far, in microseconds", "/v1/probe/status"),
		a.onDevice("probe_stop", "Stop the probes and show what they counted", "`path` of the only device to stop at", "/v1/probe/stop"),
	}
}

// onDevice makes a command that names a block device and prints the answer.
func (a *app) onDevice(name, short, device, path string) *cobra.Command {
	var sel rest.ProbeSelect
	cmd := a.command(name, short, nil)
	cmd.Flags().StringVar(&sel.Device, "device", "", device)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("device") && sel.Device == "" {
			return usage(cmd, "argument --device: must not be empty")
		}
		var answer any
		if err := a.call(cmd.Context(), "POST", path, sel, &answer); err != nil {
			return err
		}
		return a.ui.json(answer)
	}
	return cmd
}
