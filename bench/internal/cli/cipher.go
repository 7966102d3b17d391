package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"sealbay/bench/cipher"
)

const cipherLong = `Measure the ciphers alone, in this process, without a drive: every AES-XTS
implementation that runs here beside golang.org/x/crypto/xts, Go's GCM,
minio/sio, memmove and what the processor's AES unit can do at most.`

func cipherCommand() *cobra.Command {
	plan := cipher.DefaultPlan()
	var json string
	sets := []string{}
	for _, set := range plan.Sets {
		sets = append(sets, string(set))
	}
	c := &cobra.Command{
		Use: "cipher", Short: "Measure the ciphers alone, in process",
		Long: cipherLong, Args: noArgs, DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if plan.Rounds < 1 {
				return errors.Join(errUsage, fmt.Errorf("--rounds %d: want at least 1", plan.Rounds))
			}
			plan.Sets = nil
			for _, set := range sets {
				plan.Sets = append(plan.Sets, cipher.Set(set))
			}
			res, err := cipher.Run(c.Context(), plan)
			switch {
			case err != nil:
				return err
			case json != "":
				return writeJSON(json, c.OutOrStdout(), res.WriteJSON)
			}
			return res.WriteText(c.OutOrStdout())
		},
	}
	c.Flags().IntVar(&plan.Rounds, "rounds", plan.Rounds, "rounds of all subjects")
	c.Flags().Uint64Var(&plan.Seed, "seed", plan.Seed, "seed of keys, data and order")
	c.Flags().StringVar(&json, "json", "", "write JSON instead of the table, to standard output or to --json=FILE")
	c.Flags().StringSliceVar(&plan.Impls, "impl", plan.Impls, "AES-XTS implementations")
	c.Flags().IntSliceVar(&plan.KeyBits, "bits", plan.KeyBits, "bits of the AES key: 128, 256")
	c.Flags().IntSliceVar(&plan.Sectors, "sector", plan.Sectors, "bytes of a sector")
	c.Flags().StringSliceVar(&sets, "set", sets, "working sets: cache, single (one sector a call), request (from memory, 128 KiB a call), memory (1 MiB a call)")
	c.Flags().Lookup("json").NoOptDefVal = "-"
	return c
}
