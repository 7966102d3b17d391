package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// keyChoice names a key of a KMS: one that exists, or one to be created.
type keyChoice struct{ id, name string }

func (k *keyChoice) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.id, "key-id", "", "`ID` of a key that exists on the KMS")
	cmd.Flags().StringVar(&k.name, "create-key-with-name", "", "have the KMS create a key with this `name`")
}

// check refuses both at once, an empty value, and with must also none.
func (k *keyChoice) check(cmd *cobra.Command, must bool) error {
	id, name := cmd.Flags().Changed("key-id"), cmd.Flags().Changed("create-key-with-name")
	switch {
	case id && name:
		return usage(cmd, "argument --create-key-with-name: not allowed with argument --key-id")
	case must && !id && !name:
		return usage(cmd, "one of the arguments --key-id --create-key-with-name is required")
	case id && k.id == "":
		return usage(cmd, "argument --key-id: must not be empty")
	case name && k.name == "":
		return usage(cmd, "argument --create-key-with-name: must not be empty")
	}
	return nil
}

// require refuses a command line that lacks one of the flags. "a|b" is one
// flag under two names.
func require(cmd *cobra.Command, flags ...string) error {
	var missing []string
	for _, f := range flags {
		names := strings.Split(f, "|")
		if !slices.ContainsFunc(names, cmd.Flags().Changed) {
			missing = append(missing, "--"+names[0])
		}
	}
	if len(missing) > 0 {
		return usage(cmd, "the following arguments are required: %s", strings.Join(missing, ", "))
	}
	return nil
}
