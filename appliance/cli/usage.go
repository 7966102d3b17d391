package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usage makes the error of a command line that cmd does not accept.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{
		usage:   "usage: " + cmd.UseLine() + flagsOf(cmd) + "\n",
		command: cmd.CommandPath(),
		text:    fmt.Sprintf(format, args...),
	}
}

func flagsOf(cmd *cobra.Command) string {
	var b strings.Builder
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		name, _ := pflag.UnquoteUsage(f)
		if name != "" {
			name = " " + strings.ToUpper(name)
		}
		fmt.Fprintf(&b, " [--%s%s]", f.Name, name)
	})
	return b.String()
}

// noCommand is what qq does when its arguments name no command.
func noCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return &usageError{
			usage:   root.UsageString(),
			command: root.Name(),
			text:    "too few arguments; try --help to find a list of usable subcommands.",
		}
	}
	near := suggest(args[0], commandNames(root))
	return &usageError{
		usage:   "usage: qq [options] COMMAND ...\n",
		command: root.Name(),
		text:    fmt.Sprintf("unknown command %q; did you mean one of these: %s", args[0], strings.Join(near, ", ")),
	}
}

func commandNames(root *cobra.Command) []string {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	slices.Sort(names)
	return names
}

// suggest returns the names that contain typed, else the five nearest ones.
func suggest(typed string, names []string) []string {
	var holding []string
	for _, n := range names {
		if strings.Contains(n, typed) {
			holding = append(holding, n)
		}
	}
	if len(holding) > 0 {
		return holding
	}
	nearest := slices.Clone(names)
	slices.SortStableFunc(nearest, func(a, b string) int { return distance(typed, a) - distance(typed, b) })
	return nearest[:min(5, len(nearest))]
}

// distance is the Levenshtein distance of two strings, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
