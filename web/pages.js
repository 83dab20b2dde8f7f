// The pages of the studio. A new page is a file that exports `Page`, and one line here: its name in the address, its
// word, its icon, where its file is. On phones the first four are in the bar, the others under "More".
export const pages = [
  { id: 'home', label: 'Home', icon: 'home', load: () => import('./pages/home/page.js') },
  { id: 'create', label: 'Create', icon: 'create', load: () => import('./pages/create/page.js') },
  { id: 'chat', label: 'Chat', icon: 'chat', load: () => import('./pages/chat/page.js') },
  { id: 'draw', label: 'Draw', icon: 'draw', load: () => import('./pages/draw/page.js') },
  { id: 'speak', label: 'Speak', icon: 'speak', load: () => import('./pages/speak/page.js') },
  { id: 'music', label: 'Music', icon: 'music', load: () => import('./pages/music/page.js') },
  { id: 'video', label: 'Video', icon: 'video', load: () => import('./pages/video/page.js') },
  { id: 'listen', label: 'Listen', icon: 'listen', load: () => import('./pages/listen/page.js') },
  { id: 'library', label: 'Library', icon: 'library', load: () => import('./pages/library.js') },
  { id: 'jobs', label: 'Jobs', icon: 'jobs', load: () => import('./pages/jobs.js') },
  { id: 'learn', label: 'Learn', icon: 'learn', load: () => import('./pages/learn/page.js') },
  { id: 'models', label: 'Models', icon: 'models', load: () => import('./pages/models.js') },
  { id: 'settings', label: 'Settings', icon: 'settings', load: () => import('./pages/settings.js') },
];
