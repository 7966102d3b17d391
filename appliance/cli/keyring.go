package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sealbay/appliance/rest"
)

func (a *app) keyringCommands() []*cobra.Command {
	return []*cobra.Command{a.backupCommand(), a.drillCommand(), a.restoreCommand(), a.bundleRescueCommand()}
}

// bundleFlags say where a bundle is and what seals it.
type bundleFlags struct {
	keyFile string
	fd      int
}

func (b *bundleFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.keyFile, "key-file", "", "`file` of random bytes that seals the bundle, instead of a passphrase")
	cmd.Flags().IntVar(&b.fd, "passphrase-fd", -1, "file `descriptor` to read the passphrase from, instead of the terminal")
}

// secret gets what seals the bundle: from the key file, from a descriptor, or
// asked on the terminal, twice where a bundle is made.
func (b *bundleFlags) secret(u *ui, twice bool) (rest.BundleSecret, error) {
	if b.keyFile != "" {
		content, err := os.ReadFile(b.keyFile)
		if err != nil {
			return rest.BundleSecret{}, fmt.Errorf("--key-file: %w", err)
		}
		return rest.BundleSecret{KeyFile: content}, nil
	}
	if b.fd >= 0 {
		return readPassphrase(b.fd)
	}
	if !u.terminal() {
		return rest.BundleSecret{}, errors.New("nobody can be asked for a passphrase here: use --passphrase-fd or --key-file")
	}
	pass, err := u.secret("Passphrase of the bundle: ")
	if err != nil || !twice {
		return rest.BundleSecret{Passphrase: pass}, err
	}
	again, err := u.secret("Again: ")
	if err == nil && again != pass {
		err = errors.New("the two passphrases differ")
	}
	return rest.BundleSecret{Passphrase: pass}, err
}

func readPassphrase(fd int) (rest.BundleSecret, error) {
	line, err := bufio.NewReader(os.NewFile(uintptr(fd), "passphrase")).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return rest.BundleSecret{}, fmt.Errorf("--passphrase-fd %d: %w", fd, err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return rest.BundleSecret{}, fmt.Errorf("--passphrase-fd %d: there is no passphrase", fd)
	}
	return rest.BundleSecret{Passphrase: line}, nil
}

func (a *app) backupCommand() *cobra.Command {
	var flags bundleFlags
	var out string
	cmd := a.command("keyring_backup", "Seal everything that brings this node back into one file for the safe", nil)
	cmd.Flags().StringVar(&out, "out", "", "`file` to write the bundle to; must not exist")
	flags.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := require(cmd, "out"); err != nil {
			return err
		}
		secret, err := flags.secret(a.ui, true)
		if err != nil {
			return err
		}
		return a.backup(cmd.Context(), secret, out)
	}
	return cmd
}

func (a *app) backup(ctx context.Context, secret rest.BundleSecret, out string) error {
	f, err := newSecretFile(out)
	if err != nil {
		return err
	}
	var b rest.Bundle
	if err := a.call(ctx, "POST", "/v1/keyring/backup", secret, &b); err != nil {
		return f.abandon(err)
	}
	if err := f.finish(b.Bundle); err != nil {
		return err
	}
	for _, m := range b.Missing {
		a.ui.note("Not in the bundle: %s", m)
	}
	a.ui.note("Recovery bundle written to %s. Try it with keyring_drill, then lock it away: it opens every drive in it.", out)
	return nil
}

// withBundle makes a command that uses a bundle from a file.
func (a *app) withBundle(name, short string, run func(context.Context, rest.BundleUse) error) *cobra.Command {
	var flags bundleFlags
	var in string
	cmd := a.command(name, short, nil)
	cmd.Flags().StringVar(&in, "bundle", "", "`file` that keyring_backup wrote")
	flags.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := require(cmd, "bundle"); err != nil {
			return err
		}
		content, err := os.ReadFile(in)
		if err != nil {
			return fmt.Errorf("--bundle: %w", err)
		}
		secret, err := flags.secret(a.ui, false)
		if err != nil {
			return err
		}
		return run(cmd.Context(), rest.BundleUse{BundleSecret: secret, Bundle: content})
	}
	return cmd
}

func (a *app) drillCommand() *cobra.Command {
	return a.withBundle("keyring_drill", "Prove, without writing, that every drive would open from a bundle", func(ctx context.Context, use rest.BundleUse) error {
		var d rest.Drill
		if err := a.call(ctx, "POST", "/v1/keyring/drill", use, &d); err != nil {
			return err
		}
		if err := a.ui.json(d); err != nil {
			return err
		}
		if !d.Passed {
			return errors.New("the drill failed; see problem and would_open above")
		}
		return nil
	})
}

func (a *app) restoreCommand() *cobra.Command {
	var yes bool
	cmd := a.withBundle("keyring_restore", "Bring a node back from a bundle, onto an empty state folder", func(ctx context.Context, use rest.BundleUse) error {
		if err := a.ui.confirm(yes, "Make this node the one that the bundle is of?"); err != nil {
			return err
		}
		var r rest.Restored
		if err := a.call(ctx, "POST", "/v1/keyring/restore", use, &r); err != nil {
			return err
		}
		return a.ui.json(r)
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) bundleRescueCommand() *cobra.Command {
	var serial, out string
	cmd := a.withBundle("keyring_rescue_key", "Take one drive's rescue key out of a bundle", func(ctx context.Context, use rest.BundleUse) error {
		return a.writeRescueKey(ctx, out, "/v1/keyring/rescue-key", rest.BundleRescue{BundleUse: use, DriveSelect: rest.DriveSelect{Serial: serial}})
	})
	cmd.Flags().StringVar(&serial, "serial", "", "the drive's serial `number` or LUKS UUID")
	cmd.Flags().StringVar(&out, "out", "", "`file` to write the key to; must not exist")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := require(cmd, "serial", "out"); err != nil {
			return err
		}
		return run(cmd, args)
	}
	return cmd
}
