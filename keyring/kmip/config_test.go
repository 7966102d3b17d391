package kmip_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sealbay/keyring"
	"sealbay/keyring/keyringtest"
	"sealbay/keyring/kmip"
)

func TestValidate(t *testing.T) {
	ca := keyringtest.NewCA(t, "CA")
	good := kmip.Config{Hostname: "kms.example.com", Port: 5696, KeyID: "abcd-1234", Certs: ca.Certs(t, keyringtest.Cert{})}
	good.Certs.ServerCA.File, good.Certs.ClientCert.File, good.Certs.ClientKey.File = "ca.pem", "client.pem", "client.key"
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	otherCert, otherKey := ca.Issue(t, keyringtest.Cert{})
	encrypted := encrypt(t, good.Certs.ClientKey.Data)
	for name, c := range map[string]struct {
		change func(*kmip.Config)
		want   string
	}{
		"no host":         {func(c *kmip.Config) { c.Hostname = "" }, "hostname: is empty"},
		"host with path":  {func(c *kmip.Config) { c.Hostname = "kms.example.com/kmip" }, `hostname: "kms.example.com/kmip" holds a path`},
		"host as URL":     {func(c *kmip.Config) { c.Hostname = "https://kms" }, "is a URL"},
		"host with port":  {func(c *kmip.Config) { c.Hostname = "kms:5696" }, "holds a port"},
		"host with space": {func(c *kmip.Config) { c.Hostname = "my kms" }, "is not a DNS name"},
		"host with dash":  {func(c *kmip.Config) { c.Hostname = "-kms" }, "is not a DNS name"},
		"long host":       {func(c *kmip.Config) { c.Hostname = strings.Repeat("a.", 130) }, "longer than 253"},
		"port 0":          {func(c *kmip.Config) { c.Port = 0 }, "port: 0 is not a TCP port, want 1 to 65535"},
		"port too large":  {func(c *kmip.Config) { c.Port = 65536 }, "port: 65536"},
		"port negative":   {func(c *kmip.Config) { c.Port = -1 }, "port: -1"},
		"no key ID":       {func(c *kmip.Config) { c.KeyID = "" }, "key_id: is empty"},
		"key ID with spaces": {func(c *kmip.Config) { c.KeyID = "my key" },
			`key_id: "my key" holds spaces`},
		"key ID with newline": {func(c *kmip.Config) { c.KeyID = "key\n" }, `key_id: "key\n" holds spaces`},
		"swapped": {func(c *kmip.Config) {
			c.Certs.ClientCert.Data, c.Certs.ClientKey.Data = c.Certs.ClientKey.Data, c.Certs.ClientCert.Data
		}, "client_cert (client.pem): holds a private key and no certificate: are client_cert and client_private_key swapped?"},
		"certificate as key": {func(c *kmip.Config) { c.Certs.ClientKey.Data = otherCert },
			"client_private_key (client.key): holds a certificate and no private key"},
		"key as CA":     {func(c *kmip.Config) { c.Certs.ServerCA.Data = otherKey }, "server_ca_cert (ca.pem): holds a private key and no certificate"},
		"other key":     {func(c *kmip.Config) { c.Certs.ClientKey.Data = otherKey }, "client_private_key (client.key): is not the key of certificate CN=node"},
		"encrypted key": {func(c *kmip.Config) { c.Certs.ClientKey.Data = encrypted }, "is encrypted with a passphrase, which nobody could type at start; decrypt it with: openssl pkey -in client.key"},
		"old encrypted key": {func(c *kmip.Config) {
			c.Certs.ClientKey.Data = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte{1}})
		}, "is encrypted with a passphrase"},
		"empty CA file":   {func(c *kmip.Config) { c.Certs.ServerCA.Data = nil }, "server_ca_cert (ca.pem): is empty"},
		"empty cert file": {func(c *kmip.Config) { c.Certs.ClientCert.Data = []byte("\n \n") }, "client_cert (client.pem): is empty"},
		"empty key file":  {func(c *kmip.Config) { c.Certs.ClientKey.Data = nil }, "client_private_key (client.key): is empty"},
		"DER":             {func(c *kmip.Config) { c.Certs.ServerCA.Data = ca.Cert.Raw }, "server_ca_cert (ca.pem): is not a PEM file"},
		"half a file":     {func(c *kmip.Config) { c.Certs.ClientCert.Data = otherCert[:len(otherCert)/2] }, "client_cert (client.pem): is a damaged PEM file"},
		"not a certificate": {func(c *kmip.Config) {
			c.Certs.ServerCA.Data = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
		}, "server_ca_cert (ca.pem): certificate 1 cannot be read"},
		"a request": {func(c *kmip.Config) {
			c.Certs.ClientCert.Data = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")})
		}, `holds no certificate but "CERTIFICATE REQUEST"`},
		"not a key": {func(c *kmip.Config) {
			c.Certs.ClientKey.Data = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})
		}, "client_private_key (client.key): cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			err := cfg.Validate()
			var field *kmip.FieldError
			if !errors.As(err, &field) || !errors.Is(err, keyring.ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "BEGIN P") {
				t.Errorf("%q is not one clean line", err)
			}
			if _, err := kmip.New(cfg); err == nil {
				t.Error("New accepts it")
			}
		})
	}
}

// encrypt has openssl(1), which wrote most keys that there are, encrypt one.
func encrypt(t *testing.T, key []byte) []byte {
	t.Helper()
	cmd := exec.Command("openssl", "pkey", "-aes256", "-passout", "pass:x")
	cmd.Stdin = bytes.NewReader(key)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: install the Debian package openssl", err)
	}
	return out
}

func TestValidateAccepts(t *testing.T) {
	ca, second := keyringtest.NewCA(t, "CA"), keyringtest.NewCA(t, "second CA")
	good := kmip.Config{Hostname: "kms.example.com", Port: 5696, KeyID: "abcd-1234", Certs: ca.Certs(t, keyringtest.Cert{})}
	for name, change := range map[string]func(*kmip.Config){
		"CA bundle":    func(c *kmip.Config) { c.Certs.ServerCA.Data = append([]byte("# ours\n"+string(ca.PEM)), second.PEM...) },
		"IPv4":         func(c *kmip.Config) { c.Hostname = "192.0.2.7" },
		"IPv6":         func(c *kmip.Config) { c.Hostname = "2001:db8::7" },
		"trailing dot": func(c *kmip.Config) { c.Hostname = "kms.example.com." },
		"RSA":          func(c *kmip.Config) { c.Certs = ca.Certs(t, keyringtest.Cert{RSA: true}) },
		"cert and key in one file": func(c *kmip.Config) {
			both := append(append([]byte(nil), c.Certs.ClientCert.Data...), c.Certs.ClientKey.Data...)
			c.Certs.ClientCert.Data, c.Certs.ClientKey.Data = both, both
		},
		"key ID of a path": func(c *kmip.Config) { c.KeyID = "projects/7/keys/a_b:3" },
		"EC PARAMETERS before the key": func(c *kmip.Config) {
			c.Certs.ClientKey.Data = append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), c.Certs.ClientKey.Data...)
		},
	} {
		cfg := good
		change(&cfg)
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadPEM(t *testing.T) {
	dir := t.TempDir()
	large, fine := filepath.Join(dir, "large"), filepath.Join(dir, "fine")
	if err := errors.Join(os.WriteFile(large, make([]byte, 2<<20), 0o600), os.WriteFile(fine, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "client_cert (" + dir + "/none): no such file or directory",
		dir:                        "not a regular file",
		large:                      "too many for a PEM file",
		"/dev/zero":                "not a regular file",
	} {
		if _, err := kmip.ReadPEM("client_cert", path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if p, err := kmip.ReadPEM("client_cert", fine); err != nil || p.File != fine || string(p.Data) != "x" {
		t.Errorf("%v, %v", p, err)
	}
}

func FuzzPEM(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte{0x30, 0}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		cfg := kmip.Config{Hostname: "kms", Port: 1, KeyID: "1", Certs: kmip.Certs{
			ServerCA: kmip.PEM{Data: b}, ClientCert: kmip.PEM{Data: b}, ClientKey: kmip.PEM{Data: b}}}
		if err := cfg.Validate(); err == nil {
			if _, err := x509.ParseCertificate(first(b)); err != nil {
				t.Errorf("accepted without a certificate: %v", err)
			}
		}
	})
}

func first(b []byte) []byte {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil || block.Type == "CERTIFICATE" {
			if block == nil {
				return nil
			}
			return block.Bytes
		}
	}
}
