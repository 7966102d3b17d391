package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
)

// infoFlags describe a key in the header.
type infoFlags struct{ info blockcrypt.KeyInfo }

func (f *infoFlags) add(c *cobra.Command) {
	c.Flags().Uint64Var(&f.info.Epoch, "epoch", 1, "which of the node's master keys this is")
	c.Flags().StringVar(&f.info.Store, "store", blockcrypt.StoreLocal, `where the key is kept: "local" or "kms"`)
	c.Flags().StringVar(&f.info.KMIPKeyID, "kmip-key-id", "", "the KMS's name of the key")
}

func (f *infoFlags) check() error {
	if err := f.info.Check(); err != nil {
		return usage("%w", err)
	}
	return nil
}

func formatCommand(a *app) *cobra.Command {
	var key keyFile
	var info infoFlags
	var o blockcrypt.FormatOptions
	var erases string
	c := &cobra.Command{
		Use: "format --key-file K DRIVE", Short: "Make an empty volume on a blank drive or file", Args: onDrive,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := info.check(); err != nil {
				return err
			}
			o.Key = info.info
			return key.with(a, func(kek []byte) error { return a.format(args[0], erases, kek, o) })
		},
	}
	key.add(c, "key-file", "the volume's key")
	info.add(c)
	c.Flags().StringVar(&o.Label, "label", "", "a name of at most 47 characters, readable by anyone")
	c.Flags().StringVar(&o.UUID, "uuid", "", "the volume's UUID; random if not given")
	c.Flags().StringVar(&erases, "i-know-this-erases", "", "path or serial of a drive that holds data, to erase it")
	return c
}

func (a *app) format(path, erases string, kek []byte, o blockcrypt.FormatOptions) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && !underDev(path) {
		return fmt.Errorf("formatting %s: %w", path, errNoTarget)
	}
	if o.Force = erases != ""; o.Force && !names(erases, path) {
		return fmt.Errorf("formatting %s: --i-know-this-erases names %q, which is neither its path nor its serial %q", path, erases, serial(path))
	}
	return withDrive(path, true, func(d blockdev.Device) error {
		sum, err := blockcrypt.Format(d, kek, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s: formatted, UUID %s, %d bytes of data\n", path, sum.UUID, d.Info().Size-sum.DataOffset)
		return nil
	})
}

func openTestCommand(a *app) *cobra.Command {
	var key keyFile
	var foreign bool
	c := &cobra.Command{
		Use: "open-test --key-file K DRIVE", Short: "Prove that a drive opens under a key; writes nothing", Args: onDrive,
		RunE: func(_ *cobra.Command, args []string) error {
			return key.with(a, func(kek []byte) error { return a.openTest(args[0], kek, foreign) })
		},
	}
	key.add(c, "key-file", "the volume's key")
	foreignFlag(c, &foreign)
	return c
}

func foreignFlag(c *cobra.Command, foreign *bool) {
	c.Flags().BoolVar(foreign, "foreign", false, "also take what cryptsetup formatted or edited, with our cipher and sizes; the header is then not proved")
}

func (a *app) openTest(path string, kek []byte, foreign bool) error {
	return withDrive(path, false, func(d blockdev.Device) error {
		v, err := blockcrypt.Open(d, kek, blockcrypt.OpenOptions{AllowForeignLUKS2: foreign})
		if err != nil {
			return err
		}
		sum := v.Summary()
		if err := v.Close(); err != nil {
			return err
		}
		if err := sum.Degraded(); err != nil {
			return fmt.Errorf("opening the volume on %s: %w", path, err)
		}
		fmt.Fprintf(a.stdout, "%s: opens, UUID %s, generation %d, %d bytes of data\n", path, sum.UUID, sum.Generation, v.Info().Size)
		return nil
	})
}

func addKeyCommand(a *app) *cobra.Command {
	var key, add keyFile
	var info infoFlags
	c := &cobra.Command{
		Use: "add-key --key-file K --new-key-file K2 DRIVE", Short: "Let a second key open the volume", Args: onDrive,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := info.check(); err != nil {
				return err
			}
			return withTwo(a, &key, &add, func(kek, kek2 []byte) error {
				return a.change(args[0], "key added", func(d blockdev.Device) error { return blockcrypt.AddKey(d, kek, kek2, info.info) }, kek2)
			})
		},
	}
	key.add(c, "key-file", "a key of the volume")
	add.add(c, "new-key-file", "the key to add")
	info.add(c)
	return c
}

func killKeyCommand(a *app) *cobra.Command {
	var key, old keyFile
	c := &cobra.Command{
		Use: "kill-key --key-file K --kill-key-file K2 DRIVE", Short: "Destroy the keyslot of one key and keep another", Args: onDrive,
		RunE: func(_ *cobra.Command, args []string) error {
			return withTwo(a, &key, &old, func(kek, kek2 []byte) error {
				return a.change(args[0], "key killed", func(d blockdev.Device) error { return blockcrypt.KillKey(d, kek, kek2) }, kek)
			})
		},
	}
	key.add(c, "key-file", "the key to keep")
	old.add(c, "kill-key-file", "the key to kill")
	return c
}

func repairCommand(a *app) *cobra.Command {
	var key keyFile
	c := &cobra.Command{
		Use: "repair --key-file K DRIVE", Short: "Rewrite a damaged or stale header copy from the good one", Args: onDrive,
		RunE: func(_ *cobra.Command, args []string) error {
			return key.with(a, func(kek []byte) error {
				return a.change(args[0], "both header copies are whole", func(d blockdev.Device) error { return blockcrypt.Repair(d, kek) }, kek)
			})
		},
	}
	key.add(c, "key-file", "a key of the volume")
	return c
}

func adoptCommand(a *app) *cobra.Command {
	var key keyFile
	var info infoFlags
	c := &cobra.Command{
		Use: "adopt --key-file K DRIVE", Short: "Take a volume back that cryptsetup edited: K becomes its only key", Args: onDrive,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := info.check(); err != nil {
				return err
			}
			return key.with(a, func(kek []byte) error {
				return a.change(args[0], "adopted", func(d blockdev.Device) error { return blockcrypt.Adopt(d, kek, info.info) }, kek)
			})
		},
	}
	key.add(c, "key-file", "a key of the volume")
	info.add(c)
	return c
}

// change carries out a change of the header, and says done only after the
// drive, read anew, opens under kek.
func (a *app) change(path, done string, do func(blockdev.Device) error, kek []byte) error {
	return withDrive(path, true, func(d blockdev.Device) error {
		if err := do(d); err != nil {
			return err
		}
		if err := blockcrypt.Verify(d, kek); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s: %s\n", path, done)
		return nil
	})
}
