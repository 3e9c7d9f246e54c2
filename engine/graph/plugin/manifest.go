package plugin

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	manifestName    = "plugin.json"
	manifestVersion = 1
)

// manifest is the record of an installed plugin, beside its files.
type manifest struct {
	Format    int       `json:"format"`
	Name      string    `json:"name"`
	Kind      Kind      `json:"kind"`
	Version   string    `json:"version,omitempty"`
	Source    string    `json:"source"`  // pip, go-xla, or the path it was taken from
	Licence   string    `json:"licence"` // as the source says it
	Library   string    `json:"library"` // slash-separated, relative
	Installed time.Time `json:"installed"`
}

func readManifest(dir string) (m manifest, err error) {
	path := filepath.Join(dir, manifestName)
	b, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	if m.Format != manifestVersion {
		return m, fmt.Errorf("%s: format %d, this program reads %d", path, m.Format, manifestVersion)
	}
	if !filepath.IsLocal(filepath.FromSlash(m.Library)) {
		return m, fmt.Errorf("%s: library %q leads out of the folder", path, m.Library)
	}
	return m, nil
}

func (m manifest) write(dir string) error {
	m.Format, m.Installed = manifestVersion, time.Now().UTC().Truncate(time.Second)
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, manifestName), append(b, '\n'), 0o644)
}
