package appliance

import (
	"fmt"
	"os"
	"strings"
	"time"

	"sealbay/keyring"
	"sealbay/keyring/durable"
	"sealbay/keyring/kmip"
)

// kmsFolder holds certificates and client key of the KMS, each set under a
// number of its own: keystore.json names the set in use, so that a new set
// takes effect with the one replacement of that file.
const kmsFolder = "kms"

// kmsConfig is the part of keystore.json that says how to reach a KMS.
type kmsConfig struct {
	Hostname string    `json:"hostname"`
	Port     int       `json:"port"`
	KeyID    string    `json:"key_id"`
	Created  time.Time `json:"config_creation_time"`
	Certs    int       `json:"certs"` // number of the set in the folder kms
}

// The three files of a set, by their REST field.
var pemFields = []string{"server_ca_cert", "client_cert", "client_private_key"}

func pemName(field string, set int) string { return fmt.Sprintf("%s.%d.pem", field, set) }

// pemOf returns the place in c of a field.
func pemOf(c *kmip.Certs, field string) *kmip.PEM {
	switch field {
	case "server_ca_cert":
		return &c.ServerCA
	case "client_cert":
		return &c.ClientCert
	}
	return &c.ClientKey
}

const maxPEM = 1 << 20 // bytes, as in kmip

// kmsFiles is the open folder.
type kmsFiles struct {
	folder *durable.Folder
	names  func() ([]string, error) // of the files in it
}

func openKMSFiles(s *state) (*kmsFiles, error) {
	f, err := durable.Make(s.folder.Path(kmsFolder))
	if err != nil {
		return nil, fmt.Errorf("folder of KMS certificates: %w", err)
	}
	return &kmsFiles{f, func() ([]string, error) { return fileNames(f.Path(".")) }}, nil
}

// load reads a set.
func (k *kmsFiles) load(set int) (c kmip.Certs, err error) {
	for _, field := range pemFields {
		b := make([]byte, maxPEM)
		n, err := k.folder.Read(pemName(field, set), b)
		if err != nil {
			return c, fmt.Errorf("%w: %s: %w", keyring.ErrCorrupt, field, err)
		}
		*pemOf(&c, field) = kmip.PEM{File: k.folder.Path(pemName(field, set)), Data: b[:n:n]}
	}
	return c, nil
}

// save writes a new set and returns its number.
func (k *kmsFiles) save(c kmip.Certs) (set int, err error) {
	set, err = k.unused()
	if err != nil {
		return 0, err
	}
	for _, field := range pemFields {
		if err := k.folder.Replace(pemName(field, set), pemOf(&c, field).Data); err != nil {
			return 0, err
		}
	}
	return set, nil
}

func (k *kmsFiles) unused() (int, error) {
	sets, err := k.sets()
	next := 1
	for s := range sets {
		next = max(next, s+1)
	}
	return next, err
}

func fileNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// sets returns the file names of each set there is.
func (k *kmsFiles) sets() (map[int][]string, error) {
	names, err := k.names()
	if err != nil {
		return nil, err
	}
	sets := map[int][]string{}
	for _, name := range names {
		var set int
		parts := strings.Split(name, ".")
		if len(parts) == 3 {
			if _, err := fmt.Sscanf(parts[1], "%d", &set); err == nil {
				sets[set] = append(sets[set], name)
			}
		}
	}
	return sets, nil
}

// keepOnly shreds every set but those given.
func (k *kmsFiles) keepOnly(keep map[int]bool) error {
	sets, err := k.sets()
	if err != nil {
		return err
	}
	for set, names := range sets {
		if keep[set] {
			continue
		}
		for _, name := range names {
			if err := k.folder.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}
