package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// File is a file that a field of the configuration names.
type File struct{ Field, Path string }

// Files are the files that the configuration, as it is, has the node read: secrets, certificates, keys.
func (c Config) Files() []File {
	needed := []File{
		{"ingest.tls.cert_file", c.Ingest.TLS.CertFile},
		{"ingest.tls.key_file", c.Ingest.TLS.KeyFile},
		{"admin.token_file", c.Admin.TokenFile},
	}
	if c.Keys.Source == KeysFile {
		needed = append(needed, File{"keys.file.path", c.Keys.File.Path})
	} else {
		needed = append(needed, File{"keys.postgres.dsn_file", c.Keys.Postgres.DSNFile})
	}
	if clickhouse := c.Shippers.ClickHouse; clickhouse.Enabled {
		needed = append(needed, File{"shippers.clickhouse.password_file", clickhouse.PasswordFile})
		if clickhouse.TLS.Enabled {
			needed = append(needed, File{"shippers.clickhouse.tls.ca_file", clickhouse.TLS.CAFile},
				File{"shippers.clickhouse.tls.cert_file", clickhouse.TLS.CertFile},
				File{"shippers.clickhouse.tls.key_file", clickhouse.TLS.KeyFile})
		}
	}
	if session := c.Shippers.Session; session.Enabled {
		needed = append(needed, File{"shippers.session.token_file", session.TokenFile},
			File{"shippers.session.ca_file", session.CAFile})
	}
	return slices.DeleteFunc(needed, func(f File) bool { return f.Path == "" })
}

// CheckFiles reports, as an [Errors], every file that the configuration needs and that cannot be read.
// It is for `config check` and `doctor`.
func (c Config) CheckFiles() error {
	var errs Errors
	for _, file := range c.Files() {
		if err := readable(file.Path); err != nil {
			errs.add("", file.Field, file.Path, "cannot be read: %v; create the file or correct the path", cause(err))
		}
	}
	return errs.join()
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return errNotRegular
	}
	return nil
}

// cause drops the path that package os puts before the reason, as the value names it already.
func cause(err error) error {
	if path, ok := err.(*os.PathError); ok {
		return path.Err
	}
	return err
}

// ReadSecret reads the file that field names, such as a password or a token, without the newline at its
// end. An empty path gives an empty secret; an empty file is an error, as it is never meant.
func ReadSecret(field, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	const most = 64 << 10
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w; create the file or correct the path", field, err)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" || len(data) > most {
		return "", fmt.Errorf("%s: %s is empty or larger than 64 KiB; put the secret alone into it", field, path)
	}
	return secret, nil
}

// ReadDSN is the key database's connection string, from the field or its file.
func (p Postgres) ReadDSN() (string, error) {
	if p.DSN != "" {
		return p.DSN, nil
	}
	return ReadSecret("keys.postgres.dsn_file", p.DSNFile)
}
