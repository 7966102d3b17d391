# Encrypts with OpenSSL's EVP interface, sector by sector. Each line of
# standard input is a case: key and plaintext in hex, sector size, first IV, IV
# step; each line of the output its ciphertext.
# Needs nothing but python3 and libcrypto.so.3 (Debian: python3-minimal, libssl3).
import ctypes, sys

crypto = ctypes.CDLL("libcrypto.so.3")
for f in ("EVP_CIPHER_CTX_new", "EVP_aes_128_xts", "EVP_aes_256_xts"):
    getattr(crypto, f).restype = ctypes.c_void_p
ctx = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
kinds = {32: crypto.EVP_aes_128_xts(), 64: crypto.EVP_aes_256_xts()}
n = ctypes.c_int()

for line in sys.stdin:
    key, data = (bytes.fromhex(a) for a in line.split()[:2])
    sector, iv, step = (int(a) for a in line.split()[2:])
    out = ctypes.create_string_buffer(sector)
    for at in range(0, len(data), sector):
        tweak = (iv % 2**64).to_bytes(16, "little")
        if crypto.EVP_EncryptInit_ex(ctx, ctypes.c_void_p(kinds[len(key)]), None, key, tweak) != 1:
            sys.exit("EVP_EncryptInit_ex refused the key")
        if crypto.EVP_EncryptUpdate(ctx, out, ctypes.byref(n), data[at:at + sector], sector) != 1 or n.value != sector:
            sys.exit("EVP_EncryptUpdate failed")
        sys.stdout.write(out.raw.hex())
        iv += step
    print()
