/** The sample accounts of the settings, in promotion order. */
export const sampleEnvironments = [
  ['555555555', 'snd'],
  ['777777777', 'infra-dev'],
  ['666666666', 'management'],
  ['333333333', 'dev'],
  ['444444444', 'test'],
  ['222222222', 'perf-test'],
  ['111111111', 'prod']
] as const
