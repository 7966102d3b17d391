package cli

import (
	"github.com/spf13/cobra"
	"sealbay/bench/probe/livecmd"
)

// probeCommand hands its whole command line to package livecmd, which qq
// offers too.
func probeCommand() *cobra.Command {
	return &cobra.Command{
		Use: livecmd.Name, Short: livecmd.Summary, DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			code := livecmd.Run(c.Context(), args, c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
			if code != 0 {
				return &statusError{code}
			}
			return nil
		},
	}
}
