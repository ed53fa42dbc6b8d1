from services.scm.main import cli

cli()
