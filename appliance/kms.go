package appliance

import (
	"context"
	"errors"
	"net/http"

	"sealbay/appliance/rest"
	"sealbay/keyring"
	"sealbay/keyring/kmip"
)

// kmsConfigOf turns what came over the control interface into a configuration
// to be tried. The key ID may be empty.
func kmsConfigOf(c *rest.KMSConfig) kmip.Config {
	port := kmip.DefaultPort
	if c.Port != nil {
		port = *c.Port
	}
	return kmip.Config{
		Hostname: c.Hostname, Port: port, KeyID: c.KeyID,
		Certs: certsOf(rest.KMSCerts{ServerCACert: c.ServerCACert, ClientCert: c.ClientCert, ClientPrivateKey: c.ClientPrivateKey}),
	}
}

func certsOf(c rest.KMSCerts) kmip.Certs {
	return kmip.Certs{
		ServerCA:   kmip.PEM{Data: []byte(c.ServerCACert)},
		ClientCert: kmip.PEM{Data: []byte(c.ClientCert)},
		ClientKey:  kmip.PEM{Data: []byte(c.ClientPrivateKey)},
	}
}

// kms returns the KMS in use.
func (k *keys) kms() (*kmip.Store, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if s, ok := k.store.(*kmip.Store); ok {
		return s, nil
	}
	return nil, rest.Errorf(http.StatusConflict, "the master key is not in a KMS; configure one with encryption_set_key_store kms")
}

// CreateKey has a KMS, the one in use or the one described, make a key.
func (n *Node) CreateKey(ctx context.Context, c rest.CreateKey) (rest.CreatedKey, error) {
	var cfg kmip.Config
	if c.KMS != nil {
		cfg = kmsConfigOf(c.KMS)
	} else {
		s, err := n.keys.kms()
		if err != nil {
			return rest.CreatedKey{}, err
		}
		cfg = s.Config()
	}
	id, err := kmip.CreateKey(ctx, cfg, c.KeyName)
	return rest.CreatedKey{KeyID: id}, storeError(err)
}

// ReplaceKMSCerts tries new certificates and, if the key can be had with them,
// keeps them: a new set of files, then keystore.json, which names the set.
func (n *Node) ReplaceKMSCerts(ctx context.Context, c rest.KMSCerts) error {
	s, err := n.keys.kms()
	if err != nil {
		return err
	}
	n.drives.hands.Lock() // no rotation meanwhile
	defer n.drives.hands.Unlock()
	err = s.ReplaceCerts(ctx, certsOf(c), n.keys.keepCerts)
	n.rehearsals.changed()
	return storeError(err)
}

// keepCerts makes the certificates of cfg those of the configuration.
func (k *keys) keepCerts(cfg kmip.Config) error {
	set, err := k.files.save(cfg.Certs)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c, kms := *k.config, *k.config.KMS
	kms.Certs = set
	c.KMS = &kms
	if err := k.state.saveStore(c); err != nil {
		return err
	}
	k.config = &c
	return k.files.keepOnly(map[int]bool{set: true})
}

// storeError makes of a key store's error what the control interface answers.
// The texts of package keyring name what is wrong and how to mend it, and hold
// no key.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*rest.Error](err); ok {
		return err
	}
	for _, c := range []struct {
		is    error
		code  int
		class string
		says  string
	}{
		{keyring.ErrCorrupt, http.StatusBadRequest, "encryption_configuration_error", ""},
		{keyring.ErrKeyLength, http.StatusBadRequest, "kms_key_length_error", ""},
		{keyring.ErrAuth, http.StatusBadGateway, "kms_authentication_error", string(keyring.AuthError) + ": "},
		{keyring.ErrUnreachable, http.StatusBadGateway, "kms_connection_error", string(keyring.Unreachable) + " "},
		{keyring.ErrKeyNotFound, http.StatusNotFound, "kms_key_not_found_error", string(keyring.KeyNotFound) + ": "},
		{keyring.ErrKeyInactive, http.StatusConflict, "kms_key_inactive_error", string(keyring.KeyInactive) + ": "},
	} {
		if errors.Is(err, c.is) {
			e := rest.Errorf(c.code, "%s%v", c.says, err)
			e.Module, e.Class = "encryption", c.class
			return e
		}
	}
	return err
}
