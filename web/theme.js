// Before anything is painted: the theme that was chosen, or the system's.
(() => {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    let chosen = 'auto';
    try {
      chosen = JSON.parse(localStorage.getItem('medley.settings') || '{}').theme || 'auto';
    } catch {
      // No storage, or not ours: the system's.
    }
    const theme = chosen === 'auto' ? (dark.matches ? 'dark' : 'light') : chosen;
    document.documentElement.dataset.theme = theme;
    const colour = theme === 'dark' ? '#161614' : '#faf9f7';
    document.querySelector('meta[name=theme-color]').content = colour;
  };
  apply();
  dark.addEventListener('change', apply);
  addEventListener('medley-theme', apply);
})();
