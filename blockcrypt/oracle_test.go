package blockcrypt_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	refxts "golang.org/x/crypto/xts"

	"crypto/aes"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
)

// tool runs a program that judges ours, and returns its output and whether it
// exited 0.
func tool(t *testing.T, pkg, name string, args ...string) (string, bool) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err == nil
}

func cryptsetup(t *testing.T, args ...string) string {
	t.Helper()
	out, ok := tool(t, "cryptsetup-bin", "cryptsetup", args...)
	if !ok {
		t.Fatalf("cryptsetup %s: %s", strings.Join(args, " "), out)
	}
	return out
}

// onFile copies the formatted drive into a file, for tools, and its rescue
// key beside it.
func onFile(t *testing.T) (path, rescue string) {
	t.Helper()
	m := formatted(t)
	dir := t.TempDir()
	path, rescue = filepath.Join(dir, "drive"), filepath.Join(dir, "rescue.key")
	check(t, os.WriteFile(path, m.Image(), 0o600))
	k, err := blockcrypt.RescueKey(m, keyA)
	check(t, err)
	check(t, os.WriteFile(rescue, k, 0o600))
	return path, rescue
}

// with runs do on the file opened as a device, which it closes again for the
// tools.
func with(t *testing.T, path string, do func(blockdev.Device)) {
	t.Helper()
	d, err := direct.Open(path, direct.Options{})
	check(t, err)
	defer func() { check(t, d.Close()) }()
	do(d)
}

func mustVerify(t *testing.T, path string, kek []byte) {
	t.Helper()
	with(t, path, func(d blockdev.Device) { check(t, blockcrypt.Verify(d, kek)) })
}

func reads(t *testing.T, path string, kek []byte, foreign bool) {
	t.Helper()
	with(t, path, func(d blockdev.Device) {
		v, err := blockcrypt.Open(d, kek, blockcrypt.OpenOptions{AllowForeignLUKS2: foreign})
		check(t, err)
		defer func() { check(t, v.Close()) }()
		got := make([]byte, len(marker))
		_, err = v.ReadAt(got, blockcrypt.SectorSize)
		check(t, err)
		if !bytes.Equal(got, marker) {
			t.Fatal("the volume does not hold what was written")
		}
	})
}

func TestCryptsetupOpensOurs(t *testing.T) {
	path, rescue := onFile(t)
	before, err := os.ReadFile(path)
	check(t, err)
	dump := cryptsetup(t, "luksDump", path)
	for _, want := range []string{"aes-xts-plain64", "sector: 4096 [bytes]", "0: sealbay", "Label:         \ttest", "offset: 16777216 [bytes]", "Iterations: 1000", "AF stripes: 4000"} {
		if !strings.Contains(dump, want) {
			t.Errorf("luksDump does not say %q:\n%s", want, dump)
		}
	}
	cryptsetup(t, "open", "--test-passphrase", "--key-file", rescue, path)
	wrong := filepath.Join(t.TempDir(), "wrong")
	check(t, os.WriteFile(wrong, keyA, 0o600)) // the KEK itself is no passphrase
	if out, ok := tool(t, "cryptsetup-bin", "cryptsetup", "open", "--test-passphrase", "--key-file", wrong, path); ok {
		t.Errorf("cryptsetup takes a wrong key: %s", out)
	}
	after, err := os.ReadFile(path)
	check(t, err)
	if !bytes.Equal(before, after) {
		t.Error("cryptsetup found something to mend in a fresh header")
	}
}

// The volume key that cryptsetup gets out of the header decrypts our data
// with a third implementation of XTS.
func TestCryptsetupDumpsTheSameKey(t *testing.T) {
	path, rescue := onFile(t)
	keyFile := filepath.Join(t.TempDir(), "volume.key")
	cryptsetup(t, "luksDump", "--batch-mode", "--dump-volume-key", "--volume-key-file", keyFile, "--key-file", rescue, path)
	key, err := os.ReadFile(keyFile)
	check(t, err)
	c, err := refxts.NewCipher(aes.NewCipher, key)
	check(t, err)
	image, err := os.ReadFile(path)
	check(t, err)
	got := image[blockcrypt.DataOffset+blockcrypt.SectorSize:][:len(marker)]
	for off := 0; off < len(got); off += blockcrypt.SectorSize {
		sector := got[off : off+blockcrypt.SectorSize]
		c.Decrypt(sector, sector, uint64(blockcrypt.SectorSize+off)/512)
	}
	if !bytes.Equal(got, marker) {
		t.Fatal("cryptsetup's volume key does not decrypt our data")
	}
}

var luksFormat = []string{"luksFormat", "--batch-mode", "--type", "luks2", "--cipher", "aes-xts-plain64", "--key-size", "512",
	"--sector-size", "4096", "--hash", "sha256", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}

func TestWeOpenCryptsetups(t *testing.T) {
	for name, more := range map[string][]string{
		"our layout":     {"--luks2-keyslots-size", "8355840", "--offset", "32768"},
		"default layout": nil,
		"slow":           {"--pbkdf-force-iterations", "300000"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, key := filepath.Join(dir, "drive"), filepath.Join(dir, "key")
			check(t, os.WriteFile(path, nil, 0o600))
			check(t, os.Truncate(path, 24<<20))
			check(t, os.WriteFile(key, keyB, 0o600))
			cryptsetup(t, append(append(append([]string{}, luksFormat...), more...), "--key-file", key, path)...)
			with(t, path, func(d blockdev.Device) {
				_, err := blockcrypt.Open(d, keyB, blockcrypt.OpenOptions{})
				failsWith(t, err, blockcrypt.ErrNotSealbay)
				_, err = blockcrypt.Open(d, keyA, blockcrypt.OpenOptions{AllowForeignLUKS2: true})
				failsWith(t, err, blockcrypt.ErrWrongKey)
				sum, err := blockcrypt.Inspect(d)
				check(t, err)
				if sum.Foreign == nil {
					t.Error("not described as foreign")
				}
				v, err := blockcrypt.Open(d, keyB, blockcrypt.OpenOptions{AllowForeignLUKS2: true})
				check(t, err)
				_, err = v.WriteAt(marker, blockcrypt.SectorSize)
				check(t, err)
				check(t, v.Flush())
				check(t, v.Close())
			})
			reencrypt(t, path, key)
			reads(t, path, keyB, true)
		})
	}
}

func failsWith(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// reencrypt lets cryptsetup read every sector with the old key and write it
// with a new one, all in its own code.
func reencrypt(t *testing.T, path, key string) {
	t.Helper()
	before, err := os.ReadFile(path)
	check(t, err)
	cryptsetup(t, "reencrypt", "--batch-mode", "--force-offline-reencrypt", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
		"--hash", "sha256", "--key-file", key, path)
	after, err := os.ReadFile(path)
	check(t, err)
	if bytes.Equal(before[blockcrypt.DataOffset:], after[blockcrypt.DataOffset:]) {
		t.Fatal("nothing was re-encrypted")
	}
}

func TestReencryptedByCryptsetup(t *testing.T) {
	path, rescue := onFile(t)
	reencrypt(t, path, rescue)
	with(t, path, func(d blockdev.Device) {
		_, err := blockcrypt.Open(d, keyA, blockcrypt.OpenOptions{})
		failsWith(t, err, blockcrypt.ErrEdited)
	})
	reads(t, path, keyA, true)
	with(t, path, func(d blockdev.Device) { check(t, blockcrypt.Adopt(d, keyA, kms)) })
	mustVerify(t, path, keyA)
	reads(t, path, keyA, false)
	cryptsetup(t, "open", "--test-passphrase", "--key-file", rescue, path)
}

// What another program does to a header of ours is noticed, whatever it is;
// our token survives it; Adopt ends it.
func TestEditedByCryptsetup(t *testing.T) {
	second := filepath.Join(t.TempDir(), "second")
	check(t, os.WriteFile(second, []byte("another passphrase"), 0o600))
	pbkdf2 := []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--hash", "sha256"}
	for name, args := range map[string][]string{
		"key, our kind":  append([]string{"luksAddKey"}, pbkdf2...),
		"key, argon2id":  {"luksAddKey", "--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "32"},
		"label":          {"config", "--label", "mine"},
		"keyring token":  {"token", "add", "--key-description", "x"},
		"key priority":   {"config", "--priority", "prefer", "--key-slot", "0"},
		"new passphrase": append([]string{"luksChangeKey"}, pbkdf2...),
	} {
		t.Run(name, func(t *testing.T) {
			path, rescue := onFile(t)
			verb := args[0]
			args := append([]string{"--batch-mode"}, args...)
			if verb == "luksAddKey" || verb == "luksChangeKey" {
				args = append(args, "--key-file", rescue, path, second)
			} else {
				args = append(args, path)
			}
			cryptsetup(t, args...)
			if dump := cryptsetup(t, "luksDump", path); !strings.Contains(dump, "sealbay") {
				t.Errorf("our token is gone:\n%s", dump)
			}
			with(t, path, func(d blockdev.Device) {
				_, err := blockcrypt.Open(d, keyA, blockcrypt.OpenOptions{})
				failsWith(t, err, blockcrypt.ErrEdited)
				if verb == "luksChangeKey" {
					failsWith(t, blockcrypt.Adopt(d, keyA, local), blockcrypt.ErrWrongKey)
					return
				}
				check(t, blockcrypt.Adopt(d, keyA, local))
				check(t, blockcrypt.Verify(d, keyA))
			})
			if verb == "luksAddKey" {
				if out, ok := tool(t, "cryptsetup-bin", "cryptsetup", "open", "--test-passphrase", "--key-file", second, path); ok {
					t.Errorf("the second key still opens after Adopt: %s", out)
				}
			}
		})
	}
}

// A key added and removed leaves the JSON as it was, and yet is noticed.
func TestEditUndone(t *testing.T) {
	path, rescue := onFile(t)
	second := filepath.Join(t.TempDir(), "second")
	check(t, os.WriteFile(second, []byte("another passphrase"), 0o600))
	cryptsetup(t, "luksAddKey", "--batch-mode", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", rescue, path, second)
	cryptsetup(t, "luksRemoveKey", "--batch-mode", path, second)
	with(t, path, func(d blockdev.Device) {
		failsWith(t, blockcrypt.Verify(d, keyA), blockcrypt.ErrEdited)
	})
}

// cryptsetup mends a torn copy by our header's own words, which we accept.
func TestMendedByCryptsetup(t *testing.T) {
	for _, off := range []int64{5000, 16384 + 5000} {
		path, rescue := onFile(t)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		check(t, err)
		_, err = f.WriteAt([]byte("torn"), off)
		check(t, err)
		check(t, f.Close())
		cryptsetup(t, "open", "--test-passphrase", "--key-file", rescue, path)
		mustVerify(t, path, keyA)
	}
}

func TestBackupsAreCryptsetups(t *testing.T) {
	path, rescue := onFile(t)
	dir := t.TempDir()
	theirs := filepath.Join(dir, "theirs")
	cryptsetup(t, "luksHeaderBackup", "--header-backup-file", theirs, path)
	var ours []byte
	with(t, path, func(d blockdev.Device) {
		var err error
		ours, err = blockcrypt.BackupHeader(d, blockcrypt.BackupOptions{Keyslots: true})
		check(t, err)
		b, err := os.ReadFile(theirs)
		check(t, err)
		if len(b) != len(ours) || !bytes.Equal(b[32768:], ours[32768:]) {
			t.Fatalf("cryptsetup's backup of %d bytes is not ours of %d", len(b), len(ours))
		}
		check(t, blockcrypt.RestoreHeader(d, b, blockcrypt.RestoreOptions{}))
		check(t, blockcrypt.Verify(d, keyA))
	})
	mine := filepath.Join(dir, "ours")
	check(t, os.WriteFile(mine, ours, 0o600))
	cryptsetup(t, "luksHeaderRestore", "--batch-mode", "--header-backup-file", mine, path)
	cryptsetup(t, "open", "--test-passphrase", "--key-file", rescue, path)
	mustVerify(t, path, keyA)
}

// FORMAT.md 10: any HKDF makes the rescue key out of what luksUUID prints.
func TestRescueKeyByOpenSSL(t *testing.T) {
	path, rescue := onFile(t)
	uuid := strings.TrimSpace(cryptsetup(t, "luksUUID", path))
	out := filepath.Join(t.TempDir(), "key")
	if msg, ok := tool(t, "openssl", "openssl", "kdf", "-keylen", "32", "-kdfopt", "digest:SHA256", "-kdfopt", "hexkey:"+hex.EncodeToString(keyA),
		"-kdfopt", "salt:"+uuid, "-kdfopt", "info:sealbay/luks2/slot/v1", "-binary", "-out", out, "HKDF"); !ok {
		t.Fatal(msg)
	}
	want, err := os.ReadFile(rescue)
	check(t, err)
	got, err := os.ReadFile(out)
	check(t, err)
	if !bytes.Equal(got, want) {
		t.Fatal("openssl derives another rescue key")
	}
}

// Keys added and killed by us are seen so by cryptsetup.
func TestOurChangesSeenByCryptsetup(t *testing.T) {
	path, rescue := onFile(t)
	rescueB := filepath.Join(t.TempDir(), "b.key")
	with(t, path, func(d blockdev.Device) {
		check(t, blockcrypt.AddKey(d, keyA, keyB, kms))
		k, err := blockcrypt.RescueKey(d, keyB)
		check(t, err)
		check(t, os.WriteFile(rescueB, k, 0o600))
	})
	for _, k := range []string{rescue, rescueB} {
		cryptsetup(t, "open", "--test-passphrase", "--key-file", k, path)
	}
	with(t, path, func(d blockdev.Device) { check(t, blockcrypt.KillKey(d, keyB, keyA)) })
	cryptsetup(t, "open", "--test-passphrase", "--key-file", rescueB, path)
	if out, ok := tool(t, "cryptsetup-bin", "cryptsetup", "open", "--test-passphrase", "--key-file", rescue, path); ok {
		t.Errorf("cryptsetup opens with a killed key: %s", out)
	}
}

// What Format refuses as data is what other programs wrote, by its name.
func TestFindsWhatToolsWrote(t *testing.T) {
	for want, c := range map[string]struct {
		pkg, name string
		args      []string
	}{
		"an ext2/3/4 file system": {"e2fsprogs", "mkfs.ext4", []string{"-q", "-F"}},
		"a swap area":             {"util-linux", "mkswap", nil},
		"the LUKS2 volume ":       {"cryptsetup-bin", "cryptsetup", append(luksFormat[:len(luksFormat):len(luksFormat)], "--key-file", "/proc/self/cmdline")},
		"a LUKS volume":           {"cryptsetup-bin", "cryptsetup", []string{"luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--key-file", "/proc/self/cmdline"}},
		"a GPT partition table":   {"fdisk", "sfdisk", []string{"--quiet", "--label", "gpt"}},
	} {
		t.Run(want, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "drive")
			check(t, os.WriteFile(path, nil, 0o600))
			check(t, os.Truncate(path, 64<<20))
			if out, ok := toolStdin(t, c.pkg, c.name, "start=2048\n", append(c.args, path)...); !ok {
				t.Fatal(out)
			}
			with(t, path, func(d blockdev.Device) {
				what, err := blockcrypt.FindData(d)
				check(t, err)
				if !strings.HasPrefix(what, want) {
					t.Errorf("found %q", what)
				}
			})
		})
	}
}

func toolStdin(t *testing.T, pkg, name, stdin string, args ...string) (string, bool) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}
