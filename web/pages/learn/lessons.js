// The lessons: what each is about, and where its page is.
export const lessons = [
  { id: 'transformer', icon: 'text', title: 'Language model', kind: 'Transformer', about: 'Writes one piece of a word after another. See what it thinks comes next, and where it looks.',
    load: () => import('./transformer.js') },
  { id: 'diffusion', icon: 'draw', title: 'Picture out of noise', kind: 'Diffusion', about: 'Begins with noise and takes it away, step by step, as your words say.',
    load: () => import('./diffusion.js') },
  { id: 'gan', icon: 'pin', title: 'Forger and judge', kind: 'GAN', about: 'Draws in one go, and has a map of everything it can draw. Walk through it.',
    load: () => import('./gan.js') },
  { id: 'voice', icon: 'speak', title: 'From letters to sound', kind: 'Speech and vocoder', about: 'How a sentence becomes phonemes, a spectrogram, and then a wave you can hear.',
    load: () => import('./voice.js') },
  { id: 'film', icon: 'video', title: 'Pictures with time', kind: 'Space-time model', about: 'All frames of a clip come out of noise at once, each looking at the others.',
    load: () => import('./film.js') },
  { id: 'which', icon: 'compare', title: 'Which model for what', kind: 'All of them', about: 'How these models differ, how they belong together, and which to take.',
    load: () => import('./which.js') },
];
