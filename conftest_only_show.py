import tests.helpers.models as m
m.BUILDERS[:] = [n for n in m.BUILDERS if n.startswith("show")]
