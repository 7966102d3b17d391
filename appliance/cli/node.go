package cli

import (
	"strconv"

	"github.com/spf13/cobra"
)

func (a *app) nodeCommands() []*cobra.Command {
	return []*cobra.Command{
		a.get("node_state_get", "Show what state the node is in and what needs attention", "/v1/node/state"),
		a.get("version", "Show the node's version", "/v1/version"),
		a.get("who_am_i", "Show who the node takes you for and what you may do", "/v1/session/who-am-i"),
		a.auditGetLog(),
	}
}

func (a *app) auditGetLog() *cobra.Command {
	var limit int
	cmd := a.command("audit_get_log", "Show who did what, when, and how it ended", nil)
	cmd.Flags().IntVar(&limit, "limit", 0, "only the newest `n` entries")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("limit") && limit <= 0 {
			return usage(cmd, "argument --limit: must be positive")
		}
		path := "/v1/audit/log"
		if limit > 0 {
			path += "?limit=" + strconv.Itoa(limit)
		}
		return a.printGet(cmd.Context(), path)
	}
	return cmd
}
